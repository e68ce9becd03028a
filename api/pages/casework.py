"""Working on one case, for desk and unit alike: steps on offer, what each does to the clocks, guesses, and why here.

Turns the process table, the assignment's reason and the stored suggestions into words; `dispatch.cases.act` decides.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy.orm import Session
from starlette.requests import Request

from api import wiring
from api.deps import Now, Write, require
from api.i18n import N_, say
from api.pages.listing import category_words, choices, chosen_code
from api.wording import ACTIONS, CLOCKS, KINDS, URGENCIES, day_words, moment_words, named
from core.actor import Actor, Role
from core.errors import Invalid
from dispatch import cases
from dispatch.limits import Limit, due
from dispatch.process import Step
from dispatch.rulebook import Rulebook
from dispatch.sheet import ClockRow, Facts, Logged, Sheet, facts

#: Why a unit returns a case: code → words. The code stands in the log, so that returns can be counted by reason.
RETURN_REASONS: Mapping[str, str] = {
    "not_our_duty": N_("Not among our duties"),
    "not_our_area": N_("Not in our area"),
    "wrong_place": N_("The place is wrong"),
    "wrong_category": N_("The category is wrong"),
    "too_little": N_("Too little is known to act"),
    "duplicate": N_("The same matter is being handled already"),
}
SERVICES: Mapping[str, str] = {
    "110": N_("110 police"),
    "119": N_("119 fire brigade"),
    "120": N_("120 ambulance"),
    "122": N_("122 traffic accidents"),
}
#: Texts a unit can begin its answer with; the resident reads them, so they promise nothing that is not filled in.
ANSWERS: Sequence[tuple[str, str]] = (
    (
        N_("Settled on the spot"),
        N_("We went to the place on ____ and found ____. It was settled on ____ by ____. Thank you for telling us."),
    ),
    (
        N_("Work is under way"),
        N_("We checked the place on ____. The cause is ____. Work has begun and will be finished by ____."),
    ),
    (
        N_("Cannot be done, and why"),
        N_("We have examined your request. It cannot be met because ____ (basis: ____). Instead you can ____."),
    ),
    (
        N_("Answer to an enquiry"),
        N_("About your question: ____. Basis: ____. You can find more at ____, or ask us on ____."),
    ),
    (
        N_("Nothing found"),
        N_("We looked on ____ and again on ____ and did not find what you describe. We will look again on ____."),
    ),
)
#: What the units of a limit are called when it is said how time is counted.
COUNTED: Mapping[str, str] = {
    "0": N_("at once"),
    "wh": N_("{n} working hours"),
    "wd": N_("{n} working days"),
    "nd": N_("{n} days"),
    "h": N_("{n} hours round the clock"),
    "sd": N_("the same day"),
}


async def _entered(request: Request) -> dict[str, str]:
    """Return the text fields of the form, or of the address where nothing was posted; the last of a name counts."""
    given = (await request.form()) if request.method == "POST" else request.query_params
    return {name: value for name, value in given.multi_items() if isinstance(value, str)}


#: What a page's form holds; endpoints name it as the type of a parameter.
Form = Annotated[dict[str, str], Depends(_entered)]


#: Steps that lead a case on; everything else is a side road.
FORWARD = ("dispatch", "sign", "reply", "callback")
#: 1 to 5, as the call-back asks it.
SATISFACTION: Mapping[int, str] = {
    5: N_("Very satisfied"),
    4: N_("Satisfied"),
    3: N_("Neither"),
    2: N_("Dissatisfied"),
    1: N_("Very dissatisfied"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """What the forms of steps offer to choose from."""

    return_reasons: Mapping[str, str]
    services: Mapping[str, str]
    answers: Sequence[tuple[str, str]]
    satisfaction: Mapping[int, str]


def words() -> Words:
    """Return what the forms of steps offer, in the reader's language."""
    return Words(RETURN_REASONS, SERVICES, ANSWERS, {n: say(word) for n, word in SATISFACTION.items()})


@dataclass(frozen=True, slots=True)
class Work:
    """One request that changes a case: who, when, in which transaction, with what in the form."""

    request: Request
    session: Session
    actor: Actor
    at: datetime
    book: Rulebook
    form: dict[str, str]


def work_of(*roles: Role) -> Callable[..., Work]:
    """Return a dependency that lets these roles change a case and yields what that takes."""
    allowed = require(*roles)

    def made(request: Request, session: Write, at: Now, form: Form) -> Work:
        return Work(request, session, allowed(request), at, wiring.rulebook(), form)

    return made


@dataclass(frozen=True, slots=True)
class Offer:
    """One button: a step that the process table offers to the person who looks."""

    step: Step
    label: str
    #: One sentence each: what happens to which clock.
    effects: tuple[str, ...]


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


def limit_words(written: str) -> str:
    """Return a limit for people: 5 个工作日, 4 个工作小时."""
    limit = Limit.parse(written)
    return say(COUNTED[limit.count.value], n=limit.amount)


def offers(book: Rulebook, sheet: Sheet, actor: Actor, *, at: datetime) -> tuple[Offer, ...]:
    """Return the steps that an actor may take now, as the case's own version of the process has them.

    A unit is offered only notes on a case that another unit leads; steps that are used up or too late are left out.
    """
    case = sheet.case
    process = book.process(case.process, case.process_version)
    found: list[Offer] = []
    for step in process.offered(case.state, actor.role):
        if actor.role is Role.UNIT and case.unit_code != actor.unit and step.action != "note":
            continue
        if step.cap is not None and sum(entry.action == step.action for entry in sheet.entries) >= step.cap:
            continue
        if step.within and case.closed_at and at > due(case.closed_at, step.within, work=book.work).at:
            continue
        found.append(Offer(step, say(step.label), effects(book, sheet, step, at=at)))
    # The way forward stands first, whatever the table's order.
    return tuple(sorted(found, key=lambda offer: offer.step.action not in FORWARD))


def effects(book: Rulebook, sheet: Sheet, step: Step, *, at: datetime) -> tuple[str, ...]:
    """Return what a step does to the clocks of a case, one sentence each, for the line under its button."""
    case = sheet.case
    told: list[str] = []
    running = [clock for clock in sheet.clocks if clock.stopped_at is None]
    told += [
        say("The clock “{clock}” stops.", clock=named(clock.clock, CLOCKS))
        for clock in running
        if clock.clock in step.stops
    ]
    for name in step.starts:
        started = book.clock(
            name, unit=case.unit_code, kind=case.kind, urgency=case.urgency, category=case.category_code or "", start=at
        )
        told.append(
            say(
                "The clock “{clock}” starts: {limit}, until {due}.",
                clock=named(name, CLOCKS),
                limit=limit_words(started.limit),
                due=moment_words(started.due_at, now=at),
            )
        )
    told += [
        say(
            "The clock “{clock}” goes on, until {due}.",
            clock=named(clock.clock, CLOCKS),
            due=moment_words(clock.due_at, now=at),
        )
        for clock in running
        if clock.clock not in step.stops
    ]
    return tuple(told) or (say("No clock changes."),)


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
            twins.append(Twin(uuid.UUID(str(row["case_id"])), float(row.get("score") or 0), str(row.get("why") or "")))
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
    if level == "person":
        told.append(say("Chosen by {name}.", name=str(why.get("by") or "")))
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
        told.append(say("Rule {rule}: {category}, {area}.", rule=str(why["rule"]), category=what, area=where))
        if why.get("timed"):
            told.append(say("The rule holds at this time of the week."))
    told += [
        say("{unit} is not active; its deputy answers.", unit=book.unit_name(str(code)))
        for code in why.get("instead_of") or ()
    ]
    return tuple(told)


#: From here no day is today: dates are written with their year.
FAR = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Counted:
    """One day on the way to a deadline, in words."""

    words: str
    counted: bool
    why: str
    #: How long the clock ran on this day: `3:30`, empty for not at all.
    ran: str


def trace(book: Rulebook, clock: ClockRow) -> tuple[Counted, ...]:
    """Return the days from a clock's start to its end, whether each counted and why; at most a year of them.

    Computed anew by today's calendar; a clock that was moved says so itself in `changes`.
    """
    found = due(clock.started_at, Limit.parse(clock.limit), work=book.work)
    if (found.at.date() - found.start.date()).days > 366:
        return ()
    return tuple(
        Counted(
            words=day_words(datetime.combine(step.day, time(12), found.at.tzinfo), now=FAR),
            counted=step.counted,
            why=say(step.why) + (f"（{step.name}）" if step.name else ""),
            ran=_hours(step.ran),
        )
        for step in found.trace
    )


def _hours(span: timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    return f"{minutes // 60}:{minutes % 60:02d}" if minutes else ""


def entry_lines(book: Rulebook, entry: Logged) -> tuple[str, ...]:
    """Return what a log entry says beside its action, in words: reasons, texts, units, old and new values."""
    data = entry.data
    if entry.action == "overdue":
        return (named(str(data.get("clock") or ""), CLOCKS),)
    told: list[str] = []
    for name, label in (("unit", N_("To")), ("from_unit", N_("From")), ("suggested_unit", N_("Suggested"))):
        if data.get(name):
            told.append(f"{say(label)}：{book.unit_name(str(data[name]))}")
    words: Mapping[str, Callable[[str], str]] = {
        "category": lambda code: category_words(book, code) or code,
        "kind": lambda code: named(code, KINDS),
        "urgency": lambda code: named(code, URGENCIES),
    }
    for name, shown in words.items():
        change = data.get(name)
        if isinstance(change, dict):
            told.append(" → ".join(shown(str(change.get(side) or "")) or "—" for side in ("old", "new")))
    place = data.get("place")
    if isinstance(place, dict):
        told.append(say("Place moved to {lng}, {lat}.", **{k: (place.get("new") or {}).get(k) for k in ("lng", "lat")}))
    if data.get("reason_code"):
        told.append(say(RETURN_REASONS.get(str(data["reason_code"]), str(data["reason_code"]))))
    if data.get("legal_basis"):
        told.append(say("Basis: {basis}", basis=str(data["legal_basis"])))
    if data.get("service"):
        told.append(say(SERVICES.get(str(data["service"]), str(data["service"]))))
    if data.get("satisfaction"):
        told.append(say("Satisfaction {n} of 5", n=str(data["satisfaction"])))
    told += [str(data[name]) for name in ("reason", "answer", "note") if isinstance(data.get(name), str)]
    if isinstance(data.get("why"), dict):
        told += why_here(book, data["why"])
    return tuple(line for line in told if line)


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


def version_of(form: Mapping[str, str]) -> int:
    """Return the version of the case that the page showed; raises Invalid where a page does not say it."""
    try:
        return int(form["version"])
    except (KeyError, ValueError) as error:
        raise Invalid("This page is incomplete; load it again.", field="version") from error


def seen_of(form: Mapping[str, str]) -> int:
    """Return the number of the last log entry that the page showed."""
    seen = form.get("seen", "")
    return int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else 0


def take(work: Work, case_id: uuid.UUID, action: str) -> cases.Done:
    """Take a step with the fields of the form that the process table knows for it; raises as `dispatch.cases.act`."""
    book, form = work.book, work.form
    case = facts(work.session, case_id)
    step = book.process(case.process, case.process_version).step_for(action, case.state)
    known = {*step.needs, *step.may, "reason", "note"}
    fields: dict[str, Any] = {name: form[name].strip() for name in known if form.get(name, "").strip()}
    for name in ("unit", "suggested_unit"):
        if name in fields:
            fields[name] = chosen_code(choices(book).units, fields[name], field=name)
    return cases.act(work.session, book, case_id, action, expected_version=version_of(form), at=work.at, fields=fields)


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
