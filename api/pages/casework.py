"""Working on one case, for desk and unit alike: guesses, why here, why due then, what the log says, what was done.

Turns the assignment's reason, the stored suggestions and the log into words. Steps and their forms are
`api.pages.steps`; `dispatch.cases.act` decides.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy.orm import Session
from starlette.requests import Request

from api import wiring
from api.deps import Now, Write, require
from api.i18n import N_, say
from api.pages.entered import Entered, Form
from api.pages.listing import category_words
from api.wording import (
    ACTIONS,
    CHINA,
    CLOCKS,
    KINDS,
    PAUSES,
    PLEAS,
    URGENCIES,
    day_words,
    exact,
    grouped,
    limit_words,
    moment_words,
    named,
)
from core.actor import Actor, Role
from dispatch.fields import FIELDS
from dispatch.ladder import TOLD
from dispatch.limits import Limit, measured
from dispatch.rulebook import Rulebook
from dispatch.sheet import ClockRow, Facts, Logged, Share, Sheet


@dataclass(frozen=True, slots=True)
class Work:
    """One request that changes a case: who, when, in which transaction, with what in the form."""

    request: Request
    session: Session
    actor: Actor
    at: datetime
    book: Rulebook
    form: Entered


def work_of(*roles: Role) -> Callable[..., Work]:
    """Return a dependency that lets these roles change a case and yields what that takes."""
    allowed = require(*roles)

    def made(request: Request, session: Write, at: Now, form: Form) -> Work:
        return Work(request, session, allowed(request), at, wiring.rulebook(), form)

    return made


@dataclass(frozen=True, slots=True)
class Spot:
    """One place that the text may mean, as the geocoder said at intake."""

    #: 1, 2, 3: as drawn on the map.
    no: int
    lng: float
    lat: float
    radius_m: float
    confidence: float
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Guess:
    """One category that the text may belong to."""

    #: Empty where the district has no such category.
    code: str
    words: str
    probability: float


@dataclass(frozen=True, slots=True)
class Twin:
    """Another case that may be about the same matter."""

    case_id: uuid.UUID
    #: 0 to 1; from 0.8 the two can be taken for one matter by most readers.
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class Guesses:
    """What the machine said at intake."""

    spots: tuple[Spot, ...]
    categories: tuple[Guess, ...]
    #: The words that decided the category and raised the urgency.
    words: tuple[str, ...]
    model: str
    #: Why no place was given, where none was.
    unplaced: str
    twins: tuple[Twin, ...]
    #: Why a person has to look before the case goes out, in the reader's language.
    doubts: tuple[str, ...] = ()
    #: 110, 119 or 120 where the text speaks of danger to life.
    call: str = ""


def guesses(book: Rulebook, case: Facts) -> Guesses:
    """Return the stored suggestions of a case; parts that are missing or of an older shape are left out."""
    return read_guesses(book, case.suggestions)


def read_guesses(book: Rulebook, stored: Mapping[str, Any]) -> Guesses:
    """Return suggestions as intake writes them, ready to be shown; see `guesses`."""
    spots: list[Spot] = []
    for match in _rows(stored, "places"):
        try:
            lng, lat = float(match["lng"]), float(match["lat"])
        except (KeyError, TypeError, ValueError):
            continue
        spots.append(
            Spot(
                no=len(spots) + 1,
                lng=lng,
                lat=lat,
                radius_m=float(match.get("radius_m") or 0),
                confidence=float(match.get("confidence") or 0),
                name=str(match.get("name") or ""),
                why=place_why(str(match.get("why") or ""), match.get("detail") or {}),
            )
        )
    kinds = []
    for row in _rows(stored, "categories"):
        code = str(row.get("code") or "")
        # The model may know a category that the district does not have; it is told and cannot be chosen.
        code = code if code in book.categories else ""
        words = category_words(book, code) or str(row.get("name") or "")
        if words:
            kinds.append(Guess(code, words, float(row.get("probability") or row.get("confidence") or 0)))
    twins = []
    for row in _rows(stored, "twins"):
        try:
            twins.append(Twin(uuid.UUID(str(row["case_id"])), float(row.get("score") or 0), _twin_why(row)))
        except (KeyError, ValueError):
            continue
    detail = stored.get("detail")
    unplaced = "" if spots else place_why(str(stored.get("why") or ""), detail if isinstance(detail, dict) else {})
    return Guesses(
        spots=tuple(spots[:5]),
        categories=tuple(kinds[:3]),
        words=tuple(str(word) for word in stored.get("words") or () if word)[:8],
        model=str(stored.get("model") or ""),
        unplaced=unplaced,
        twins=tuple(twins[:5]),
        doubts=tuple(say(str(doubt)) for doubt in stored.get("doubts") or ()),
        call=str(stored.get("call") or ""),
    )


def _twin_why(row: Mapping[str, Any]) -> str:
    """Return why another case may be of the same matter, in words; what older cases kept stays as it is."""
    if "words" not in row:
        return str(row.get("why") or "")
    told = [say("Copied or passed on")] if row.get("copy") else []
    if words := [str(word) for word in row.get("words") or ()][:4]:
        told.append(say("Both say: {words}", words="、".join(words)))
    if row.get("metres") is not None:
        told.append(say("{n} m apart", n=round(float(row["metres"]))))
    if float(row.get("days") or 0) >= 1:
        told.append(say("{n} days apart", n=round(float(row["days"]))))
    return "；".join(told)


def _rows(stored: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = stored.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def place_why(code: str, detail: Mapping[str, Any]) -> str:
    """Return the geocoder's reason in the reader's language; the bare code's words where a parameter is missing."""
    from hotline.geocode.model import WHY

    template = WHY.get(code)
    if template is None:
        return code
    try:
        return say(template, **{name: str(value) for name, value in detail.items()})
    except (KeyError, IndexError, ValueError):
        return say(N_("Found in the text."))


def why_here(book: Rulebook, why: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a unit has a case, in sentences: from the JSON that the assignment or the decision carries."""
    level = str(why.get("level") or "")
    inner = why.get("why")
    if not level and isinstance(inner, dict):
        # Automatic dispatch keeps the decision one level down.
        return why_here(book, {"rule": why.get("rule"), **inner})
    area = book.areas.get(str(why.get("area") or "")[:12]) or book.areas.get(str(why.get("area") or "")[:9])
    where = area.name if area else say("the whole district")
    what = category_words(book, str(why.get("category") or "")) or say("all matters")
    told = []
    note = str(why.get("note") or _notes(book).get(str(why.get("rule") or ""), ""))
    if level == "person":
        by = str(why.get("by") or "")
        told.append(say("It rose to the next level.") if by == "levels" else say("Chosen by {name}.", name=by))
        if why.get("reason"):
            told.append(str(why["reason"]))
        if why.get("proposed"):
            told.append(say("The rules proposed {unit}.", unit=book.unit_name(str(why["proposed"]))))
        return tuple(told)
    if level == "town":
        told.append(say("No rule answers; the town office of {area} is responsible.", area=where))
    elif level == "centre":
        told.append(say("No rule and no town office answers; the district centre is responsible."))
    elif why.get("rule"):
        told.append(
            say("By the rule “{rule}”.", rule=note) if note else say("{category}, {area}.", category=what, area=where)
        )
        if why.get("timed"):
            told.append(say("The rule holds at this time of the week."))
    told += [
        say("{unit} is not active; its deputy answers.", unit=book.unit_name(str(code)))
        for code in why.get("instead_of") or ()
    ]
    return tuple(told)


def _notes(book: Rulebook) -> Mapping[str, str]:
    """Return what the district calls its rules, by id: ids are for files, not for people."""
    return {rule.id: rule.note for rule in book.routing.rules if rule.note}


#: From here no day is today: dates are written with their year.
FAR = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Counted:
    """One day on the way to a deadline, in words."""

    words: str
    counted: bool
    why: str
    #: How long the clock ran on this day: `3:30`, empty for not at all; and how long it stood.
    ran: str
    stood: str = ""


@dataclass(frozen=True, slots=True)
class Reckoning:
    """Why a clock is due when it is."""

    #: What was counted: limit, pauses, extensions, notices, one sentence each.
    told: tuple[str, ...]
    #: Day by day, at most a year.
    days: tuple[Counted, ...]


def reckoning(book: Rulebook, sheet: Sheet, clock: ClockRow, *, at: datetime) -> Reckoning:
    """Return why a clock is due when it is: the notices used, the days counted, pauses subtracted, extensions added.

    Computed anew by today's calendar; a clock that was moved says so itself in `changes`. A clock that stands is
    counted as if it ran again at `at`.
    """
    pauses = [pause for pause in sheet.pauses if pause.deadline_id == clock.id]
    # Whichever of promise and law runs out first.
    found = measured(
        clock.started_at,
        Limit.parse(clock.limit),
        work=book.work,
        legal=Limit.parse(clock.legal_limit) if clock.legal_limit else None,
        pauses=[(pause.started_at, pause.ended_at or at) for pause in pauses],
        extra=[Limit.parse(span) for span in clock.extra],
    ).found
    told = [say("{limit}, from {start}.", limit=limit_words(clock.limit), start=exact(clock.started_at)[:16])]
    for pause in pauses:
        reason, start = named(pause.reason_code, PAUSES), exact(pause.started_at)[:16]
        if pause.ended_at is None:
            told.append(say("Stands since {start}: {reason}.", start=start, reason=reason))
        else:
            end = exact(pause.ended_at)[:16]
            told.append(say("Stood from {start} to {end}: {reason}.", start=start, end=end, reason=reason))
    told += [say("Longer by {limit}.", limit=limit_words(span)) for span in clock.extra]
    if clock.legal_limit and clock.legal_due_at:
        until = exact(clock.legal_due_at)[:16]
        told.append(say("The law allows {limit}, until {due}.", limit=limit_words(clock.legal_limit), due=until))
    for notice in found.notices_used:
        words = N_("{year}: {source}.") if notice.source else N_("{year}: no notice yet, weekends alone are counted.")
        told.append(say(words, year=notice.year, source=notice.source))
    if (found.at.date() - found.start.date()).days > 366:
        return Reckoning(tuple(told), ())
    days = tuple(
        Counted(
            words=day_words(datetime.combine(step.day, time(12), found.at.tzinfo), now=FAR),
            counted=step.counted,
            why=say(step.why) + (f"（{step.name}）" if step.name else ""),
            ran=_hours(step.ran),
            stood=_hours(step.stood),
        )
        for step in found.trace
    )
    return Reckoning(tuple(told), days)


def moved_words(why: Mapping[str, Any]) -> str:
    """Return why a due time was moved: a pause, an extension, a correction, a notice or a rule."""
    if "paused" in why:
        return say("after a pause: {reason}", reason=named(str(why["paused"]), PAUSES))
    if "extended" in why:
        return say("longer by {limit}", limit=limit_words(str(why["extended"])))
    if "corrected" in why:
        return say("the case was corrected")
    return say("the calendar or the limits changed")


def _hours(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    return f"{minutes // 60}:{minutes % 60:02d}" if minutes else ""


#: Fields of an entry that name a unit, with the word before it.
_UNITS = (
    ("from_unit", N_("From")),
    ("unit", N_("To")),
    ("new_unit", N_("The unit instead")),
    ("suggested_unit", N_("Suggested")),
)
#: Fields of an entry that are texts for themselves.
_TEXTS = ("task", "opinion", "ruling", "reason", "answer", "demand", "supervise_answer", "note")
#: Fields told in their own way, or of use to the program only.
_TOLD_APART = frozenset(
    {"category", "kind", "urgency", "complex", "place", "why", "photos", "span", "due_at", "lapsed", "from", "to"}
    | {"asked_at", "asked_by", "main", "assist", "clock", "satisfaction", "rung", "told", "lng", "lat", "datum"}
    # A code of the item's sheet; the filing shows the place itself.
    | {"pickup_place"}
    | {name for name, _word in _UNITS}
    | set(_TEXTS)
)


def entry_lines(book: Rulebook, entry: Logged) -> tuple[str, ...]:
    """Return what a log entry says beside its action, in words: reasons, texts, units, old and new values."""
    data = entry.data
    if entry.action in ("overdue", "escalated"):
        told = [named(str(data.get("clock") or ""), CLOCKS)]
        if data.get("rung"):
            told.append(say("Told: {who}.", who=say(TOLD.get(str(data["rung"]), str(data["rung"])))))
        return tuple(told)
    told = [f"{say(label)}：{book.unit_name(str(data[name]))}" for name, label in _UNITS if data.get(name)]
    told += _changed(book, data)
    told += _said(book, data)
    told += [str(data[name]) for name in _TEXTS if isinstance(data.get(name), str)]
    if isinstance(data.get("why"), dict):
        told += why_here(book, data["why"])
    return tuple(line for line in told if line)


def _changed(book: Rulebook, data: Mapping[str, Any]) -> list[str]:
    """Return old and new values of what was corrected."""
    words: Mapping[str, Callable[[str], str]] = {
        "category": lambda code: category_words(book, code) or code,
        "kind": lambda code: named(code, KINDS),
        "urgency": lambda code: named(code, URGENCIES),
        "complex": lambda code: say("Complex matter") if code == "yes" else say("Not complex"),
    }
    told = []
    for name, shown in words.items():
        change = data.get(name)
        if isinstance(change, dict):
            told.append(" → ".join(shown(str(change.get(side) or "")) or "—" for side in ("old", "new")))
    place = data.get("place")
    if isinstance(place, dict):
        new = place.get("new") or {}
        told.append(say("Place: {name}.", name=str(new.get("name") or f"{new.get('lng')}, {new.get('lat')}")))
    if isinstance(data.get("place_by"), dict):
        told.append(say("The place was kept as it is."))
    return told


def _said(book: Rulebook, data: Mapping[str, Any]) -> list[str]:
    """Return what the fields of a form say: spans, numbers, choices with their question, lists."""
    told = []
    if data.get("satisfaction"):
        told.append(say("Satisfaction {n} of 5", n=str(data["satisfaction"])))
    if data.get("main"):
        told.append(say("Main case {number}", number=grouped(str(data["main"]))))
    if isinstance(data.get("assist"), list):
        told += [f"{say('Assisting')}：{'、'.join(book.unit_name(str(code)) for code in data['assist'])}"]
    if data.get("span"):
        told.append(limit_words(str(data["span"])))
    if data.get("asked_by"):
        told.append(say("Asked by {name}.", name=str(data["asked_by"])))
    told += _materials(data)
    if data.get("due_at"):
        told.append(say("New limit: {due}.", due=exact(datetime.fromisoformat(str(data["due_at"])))[:16]))
    if isinstance(data.get("photos"), list) and data["photos"]:
        told.append(say("{n} photos", n=len(data["photos"])))
    for ended in data.get("lapsed") or ():
        if ended == "supervision":
            told.append(say("The supervision ended with the case."))
        else:
            told.append(say("The request was not decided and lapsed: {plea}.", plea=named(str(ended), PLEAS)))
    for name, value in data.items():
        field = FIELDS.get(name)
        if field is None or name in _TOLD_APART or not isinstance(value, str) or not value:
            continue
        told.append(
            f"{say(field.label)}：{_instant(value) if field.kind == 'instant' else named(value, field.choices)}"
        )
    return told


def _materials(data: Mapping[str, Any]) -> list[str]:
    """Return which materials an entry is about, by the names that it keeps, and what was wrong with each."""
    known = data.get("names")
    names: Mapping[str, str] = known if isinstance(known, dict) else {}
    told = []
    for name in ("materials", "owed"):
        codes = data.get(name)
        if isinstance(codes, list) and codes:
            listed = "、".join(str(names.get(code, code)) for code in codes)
            told.append(f"{say(FIELDS[name].label)}：{listed}")
    rows = data.get("told") or data.get("wrong")
    for row in rows if isinstance(rows, list) else ():
        called = str(row.get("name") or names.get(row.get("code"), row.get("code")))
        told.append(f"{called}：{row['why']}" if row.get("why") else called)
    return told


def _instant(written: str) -> str:
    """Return a time of a form in words; without an offset it is the district's own."""
    moment = datetime.fromisoformat(written)
    return exact(moment if moment.tzinfo else moment.replace(tzinfo=CHINA))[:16]


@dataclass(frozen=True, slots=True)
class Day:
    """What was written into the log on one day."""

    words: str
    #: Entry and its lines, the earliest first.
    entries: tuple[tuple[Logged, tuple[str, ...]], ...]


def timeline(book: Rulebook, entries: Sequence[Logged]) -> tuple[Day, ...]:
    """Return the log by the day on which it was written, in order."""
    days: dict[date, list[tuple[Logged, tuple[str, ...]]]] = {}
    for entry in entries:
        days.setdefault(entry.recorded_at.astimezone(CHINA).date(), []).append((entry, entry_lines(book, entry)))
    return tuple(Day(day_words(rows[0][0].recorded_at, now=FAR), tuple(rows)) for rows in days.values())


@dataclass(frozen=True, slots=True)
class Parts:
    """What hangs on a case, ready to be drawn by `case/parts.html`."""

    #: Shares of assisting and parallel units, and why each is here.
    shares: tuple[tuple[Share, tuple[str, ...]], ...]
    #: Names of the units that returned the case, in order.
    returned_by: tuple[str, ...]
    #: The closing form: question and answer.
    closing: tuple[tuple[str, str], ...]
    #: Clocks that run or stand, and why each is due then.
    clocks: tuple[tuple[ClockRow, Reckoning], ...]
    #: Names of the units whose last answer for their share was no.
    against: frozenset[str] = frozenset()


def parts_of(book: Rulebook, sheet: Sheet, *, at: datetime) -> Parts:
    """Return what hangs on a case, in words."""
    closing = ((FIELDS[name], value) for name, value in sheet.closing.items())
    said = {one.unit_name: one.data.get("agrees") for one in sheet.entries if one.action == "share_reply"}
    return Parts(
        shares=tuple((share, why_here(book, share.why)) for share in sheet.shares if share.share != "lead"),
        returned_by=tuple(book.unit_name(code) for code in sheet.returned_by),
        closing=tuple((say(field.label), named(str(value), field.choices)) for field, value in closing),
        clocks=tuple((c, reckoning(book, sheet, c, at=at)) for c in sheet.clocks if c.stopped_at is None),
        against=frozenset(name for name, agrees in said.items() if name and agrees == "no"),
    )


def logged(book: Rulebook, entries: Sequence[Logged]) -> list[tuple[Logged, tuple[str, ...]]]:
    """Return entries, each with its lines."""
    return [(entry, entry_lines(book, entry)) for entry in entries]


def since(sheet: Sheet, seen: int) -> tuple[Logged, ...]:
    """Return the log entries that were written after the page that showed entry `seen`."""
    return tuple(entry for entry in sheet.entries if entry.seq > seen)


def already_done(sheet: Sheet, actor: Actor, action: str, *, seen: int) -> Logged | None:
    """Return the entry that shows a repeated submission: the same person did the same since the page was drawn."""
    later = since(sheet, seen)
    mine = [entry for entry in later if entry.action == action and entry.actor_name == actor.name]
    return mine[-1] if mine and len(mine) == len(later) else None


def seen_of(form: Mapping[str, str]) -> int:
    """Return the number of the last log entry that the page showed."""
    seen = form.get("seen", "")
    return int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else 0


def done_words(book: Rulebook, case: Facts, action: str, *, at: datetime, repeated: bool) -> str:
    """Return one sentence for the person who took a step: what is so now, and which limit runs."""
    if repeated:
        return say("This was done already; it was not done twice.")
    said = say("Done: {action}.", action=named(action, ACTIONS))
    if action in ("dispatch", "redispatch") and case.unit_code:
        said = say("Sent to {unit}.", unit=book.unit_name(case.unit_code))
    if case.due_at is not None and case.due_clock is not None:
        due_words = moment_words(case.due_at, now=at)
        said += " " + say("Next: {clock}, until {due}.", clock=named(case.due_clock, CLOCKS), due=due_words)
    return said
