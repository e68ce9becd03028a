"""Steps as people take them: which are on offer, what each form asks, what each does to the clocks, what came back.

Draws nothing: `templates/case/steps.html` does. Knows no single process; what a step asks is in its table and in
`dispatch.fields`, and `dispatch.cases` decides.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from api import answers, security
from api.i18n import N_, say
from api.pages.effects import Effect, effects
from api.pages.entered import Entered
from api.pages.listing import Choice, choices, chosen_code
from api.photos import read_photo, store
from api.wording import CHINA, unit_of_count
from core.actor import Actor, Role
from core.errors import Invalid, NotFound, WanggeError
from dispatch import attachments, cases
from dispatch.fields import FIELDS, PLACE, Field
from dispatch.items.filed import Held, filed
from dispatch.process import Step
from dispatch.rulebook import Rulebook
from dispatch.sheet import Facts, Sheet

#: Steps that lead a case on, in the order of the work: the first on offer is the main one of the page.
FORWARD = (
    *("arbitrate", "extend_grant", "pause_grant", "park_grant", "supervise_close", "supervise_reply"),
    *("dispatch", "sign", "share_sign", "share_reply", "reply", "callback"),
    *("accept", "register", "survey_record", "grant", "denial_agree", "deliver", "file", "settle", "verify"),
)
#: Roads that are rarely taken: they stand behind "more".
RARE = frozenset(
    {"withdraw", "refuse", "reopen", "rise", "withdraw_unit", "replace_unit", "share_rework", "park_ask", "park_on"}
    | {"unmerge", "merge", "dispute", "share_return", "supervise", "hand_over", "rate", "reassign", "hand_up"}
    | {"reuse", "refuse_acceptance", "choose_pickup", "record_fee", "survey_move", "void"}
)
#: Steps that cannot be taken back by whoever presses them; never the main one.
GRAVE = frozenset(("withdraw", "refuse", "hand_over", "return", "share_return", "close", "withdraw_unit", "void"))
#: What photos of a step show; the others are evidence.
PURPOSES: Mapping[str, tuple[str, ...]] = {
    "reply": ("before", "after"),
    "settle": ("before", "after"),
    "check": ("after",),
    "verify": ("after",),
}
PHOTO_WORDS: Mapping[str, str] = {
    "report": N_("Photo of the report"),
    "before": N_("Photo before"),
    "after": N_("Photo after"),
    "evidence": N_("Evidence"),
}
#: Photos that one form takes.
MOST_PHOTOS = 6
#: How long a photo that was sent with a refused form can be sent again without choosing it anew.
KEPT_S = 3600
#: Which degrees a question about satisfaction offers.
_DEGREES: Mapping[str, tuple[str, ...]] = {"callback": ("5", "4", "3"), "rework": ("3", "2", "1")}
#: Steps whose unit is one that has a share already.
_OF_SHARES = ("withdraw_unit", "replace_unit", "share_rework")
#: Fields about the materials of an application → which of them can be meant; those of other states are not offered.
_OF_MATERIALS: Mapping[str, Callable[[Held], bool]] = {
    "materials": lambda one: one.state in ("missing", "rejected", "owed"),
    "owed": lambda one: one.state == "missing" and one.may_lag,
    "wrong": lambda one: one.state in ("given", "checked"),
}
#: A choice of so few, short words is shown at once.
_RADIOS, _SHORT = 4, 60
#: Fields that change what happens to a clock.
_LIVE = ("span", "pause_reason")


@dataclass(frozen=True, slots=True)
class Ask:
    """One field of a form, ready to be drawn."""

    name: str
    #: As `dispatch.fields.Field.kind`.
    kind: str
    label: str
    help: str
    needed: bool
    choices: tuple[Choice, ...] = ()
    #: What was typed; for kinds with several parts, `values`.
    value: str = ""
    values: tuple[str, ...] = ()
    most: int = 5000
    #: What is wrong with it; empty for nothing.
    error: str = ""
    #: Only asked while that other field has one of these values.
    when: tuple[str, tuple[str, ...]] | None = None
    #: Shown as radios rather than as a list.
    radios: bool = False
    #: Texts to begin with.
    texts: tuple[answers.Text, ...] = ()
    #: Shown folded, beside the form.
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """One button: a step that the process table offers to the person who looks."""

    step: Step
    label: str
    #: What the step is for, where its name does not say it.
    meaning: str
    #: What happens to which clock.
    effects: tuple[Effect, ...]
    asks: tuple[Ask, ...]
    #: main, side or more.
    place: str
    danger: bool
    #: Names of fields that change the effects while they are filled in; empty for none.
    live: tuple[str, ...] = ()
    #: The form was sent and refused; `problem` says why where no field is to blame.
    tried: bool = False
    problem: str = ""

    @property
    def uploads(self) -> bool:
        """Whether the form takes photos."""
        return any(ask.kind == "photos" for ask in self.asks)


def offers(
    session: Session,
    book: Rulebook,
    sheet: Sheet,
    actor: Actor,
    *,
    at: datetime,
    tried: str = "",
    entered: Entered | None = None,
    error: WanggeError | None = None,
    problem: str = "",
) -> tuple[Offer, ...]:
    """Return the steps that an actor may take on a case now, guards included, the way forward first.

    tried, entered, error, problem: the action whose form was refused, what was typed into it, and why, in words.
    """
    case = sheet.case
    process = book.process(case.process, case.process_version)
    found: list[Offer] = []
    steps = cases.offered(session, book, case.id, at=at)
    named = {step.action: step for step in steps}
    materials: tuple[Held, ...] | None = None
    main = next((named[action] for action in FORWARD if action in named), None)
    for step in steps:
        mine = step.action == tried
        names = [name for name in process.fields(step, case.kind) if name not in PLACE and name != "place"]
        needed = (*process.needs(step, case.kind), *(("reason",) if step.reason_required else ()))
        if materials is None and any(name in _OF_MATERIALS for name in names):
            materials = _materials(session, sheet)
        if _pointless(step, needed, materials or ()):
            continue
        blame = (error.field or "") if mine and error is not None else ""
        # Whoever reads one photo names it alone.
        blame = "photos" if blame == "photo" else blame
        asks = tuple(
            ask(
                book,
                FIELDS[name],
                needed=name in needed,
                step=step,
                sheet=sheet,
                entered=entered if mine else None,
                error=problem if name == blame else "",
                unit=actor.unit,
                at=at,
                materials=materials or (),
            )
            for name in names
            if _asked(step, name, needed)
        )
        told = effects(book, sheet, step, actor=actor, at=at, given=entered.plain if mine and entered else {})
        found.append(
            Offer(
                step=step,
                label=say(step.label),
                meaning=say(step.meaning) if step.action in RARE or step.action not in FORWARD else "",
                effects=told,
                asks=asks,
                place="main" if step is main else _place(step, sheet, actor),
                danger=step.action in GRAVE,
                live=tuple(part for one in asks for part in _live(one)),
                tried=mine,
                problem=problem if mine and not any(one.error for one in asks) else "",
            )
        )
    # A refusal stands beside the grant, a mere note behind what changes something.
    order = {"plea_refuse": -1, "supervise_again": -1, "rework": -1, "note": 1}
    return tuple(sorted(found, key=lambda o: (("main", "side", "more").index(o.place), order.get(o.step.action, 0))))


def _place(step: Step, sheet: Sheet, actor: Actor) -> str:
    """Return where a step that is not the main one stands: side or more."""
    if step.action == "supervise" and actor.role is Role.SUPERVISOR:
        return "side"
    if step.action == "hand_over" and sheet.case.urgency == "emergency":
        return "side"
    return "more" if step.action in RARE else "side"


def _materials(session: Session, sheet: Sheet) -> tuple[Held, ...]:
    """Return the materials of an application; none for other cases."""
    if sheet.case.process != "service_item":
        return ()
    try:
        return filed(session, sheet.case.id).materials
    except NotFound:
        # Its papers are not this actor's to see: the step is taken at the window.
        return ()


def _meant(step: Step, name: str, materials: Iterable[Held]) -> tuple[Choice, ...]:
    """Return the materials that a field of a step can be about."""
    # What is wrong with a material that followed later is said of those alone.
    late = step.action == "material_wrong"
    return tuple(
        Choice(one.code, one.name)
        for one in materials
        if _OF_MATERIALS[name](one) and (not late or one.settled_at is not None)
    )


def _pointless(step: Step, needed: Iterable[str], materials: Iterable[Held]) -> bool:
    """Return whether a step asks which materials are meant, and none can be."""
    return any(name in _OF_MATERIALS and not _meant(step, name, materials) for name in needed)


def _asked(step: Step, name: str, needed: Iterable[str]) -> bool:
    if name == "reason":
        return "reason" in needed or name in step.may
    # One text is enough where a reason has to be given.
    return name != "note" or name in needed or (name in step.may and not step.reason_required)


def _live(asked: Ask) -> tuple[str, ...]:
    if asked.name not in _LIVE:
        return ()
    return (f"{asked.name}_n", f"{asked.name}_u") if asked.kind == "span" else (asked.name,)


def ask(
    book: Rulebook,
    field: Field,
    *,
    needed: bool,
    step: Step | None = None,
    sheet: Sheet | None = None,
    entered: Entered | None = None,
    error: str = "",
    unit: str = "",
    at: datetime | None = None,
    materials: Iterable[Held] = (),
) -> Ask:
    """Return one field as it is drawn: its words, choices, what was typed into it, and what is wrong with that.

    sheet, unit, at: for texts to begin an answer of that unit with, and for choices among the shares of the case.
    materials: those of an application, for fields about them.
    """
    action = step.action if step else ""
    kind, offered = field.kind, tuple(Choice(code, say(words)) for code, words in field.choices.items())
    if kind == "satisfaction":
        offered = tuple(c for c in offered if c.code in _DEGREES.get(action, tuple(field.choices)))
    elif kind == "span":
        offered = tuple(Choice(count, unit_of_count(count)) for count in field.counts)
    elif kind == "photos":
        process = sheet.case.process if sheet else ""
        offered = tuple(Choice(p, say(PHOTO_WORDS[p])) for p in _purposes(action, process))
    elif step is not None and field.name in _OF_MATERIALS:
        offered = _meant(step, field.name, materials)
    elif kind == "unit" and field.name == "unit" and action in _OF_SHARES and sheet is not None:
        kind = "choice"
        active = [s for s in sheet.shares if s.share != "lead" and s.active]
        offered = tuple(Choice(s.unit_code, s.unit_name) for s in active)
    value, values = _typed(field, entered)
    short = len(offered) <= _RADIOS and sum(len(c.words) for c in offered) <= _SHORT
    return Ask(
        name=field.name,
        kind=kind,
        label=say(field.label),
        help=say(field.help) if field.help else "",
        needed=needed,
        choices=offered,
        value=value,
        values=values,
        most=field.most,
        error=error,
        when=field.needed_if,
        radios=kind == "choice" and short,
        texts=answers.texts(book, sheet, field.name, unit=unit, at=at) if sheet is not None and at is not None else (),
        aside=field.name == "note" and not needed and field.kind == "long",
    )


def _purposes(action: str, process: str) -> tuple[str, ...]:
    """Return what photos of a step show: the answer to a request for information has no before and after."""
    return ("evidence",) if process == "information" else PURPOSES.get(action, ("evidence",))


def _typed(field: Field, entered: Entered | None) -> tuple[str, tuple[str, ...]]:
    """Return what somebody typed into a field, as one value and as its parts."""
    if entered is None:
        return "", ()
    if field.kind == "span":
        return "", (entered.get(f"{field.name}_n", ""), entered.get(f"{field.name}_u", ""))
    if field.kind == "photos":
        return "", tuple(entered.lists.get("photos_kept", ()))
    if field.kind == "rows":
        told = (f"{key.partition('-')[2]}={text}" for key, text in entered.items() if key.startswith(f"{field.name}-"))
        return entered.get(field.name, ""), tuple(told)
    if field.kind in ("units", "names"):
        return "", tuple(entered.lists.get(field.name, ()))
    return entered.get(field.name, ""), ()


# What came back.


def read(book: Rulebook, entered: Entered, names: Iterable[str]) -> dict[str, Any]:
    """Return the filled fields of a form as `dispatch.cases.act` takes them, photos left out.

    Raises Invalid, naming the field, for units and categories that mean nothing and for texts with open places.
    """
    fields: dict[str, Any] = {}
    for name in names:
        value = _value(book, FIELDS[name], entered) if name in FIELDS else None
        if value not in (None, "", []):
            fields[name] = value
    return fields


def _value(book: Rulebook, field: Field, entered: Entered) -> Any:
    written = entered.get(field.name, "").strip()
    many = [one.strip() for one in entered.lists.get(field.name, ()) if one.strip()]
    match field.kind:
        case "unit" if written:
            return chosen_code(choices(book).units, written, field=field.name)
        case "category" if written:
            return chosen_code(choices(book).categories, written, field=field.name)
        case "units":
            units = choices(book).units
            return [
                chosen_code(units, part, field=field.name)
                for one in many
                for part in re.split(r"[、,，;；\n]", one)
                if part.strip()
            ]
        case "span":
            amount = entered.get(f"{field.name}_n", "").strip()
            return f"{amount}{entered.get(f'{field.name}_u', '')}" if amount else written
        case "names":
            return [part.strip() for one in many for part in one.split("\n") if part.strip()]
        case "rows":
            told = {key.partition("-")[2]: text for key, text in entered.items() if key.startswith(f"{field.name}-")}
            return [{"code": code, "why": text.strip()} for code, text in told.items() if text.strip()] or _rows(
                written
            )
        case "instant" if written and "+" not in written and not written.endswith("Z"):
            try:
                return datetime.fromisoformat(written).replace(tzinfo=CHINA).isoformat()
            except ValueError:
                return written
        case "long" if answers.has_texts(field.name):
            answers.refuse_unfilled(field.name, written)
            return written
        case "photos" | "place":
            return None
    return written


def _rows(written: str) -> list[dict[str, str]]:
    """Return rows written one a line, `code=M1; state=ok`."""
    rows = []
    for line in written.splitlines():
        parts = (part.partition("=") for part in re.split(r"[;；]", line) if part.strip())
        rows.append({name.strip(): value.strip() for name, _, value in parts})
    return [row for row in rows if row]


def take(
    session: Session,
    book: Rulebook,
    case: Facts,
    action: str,
    entered: Entered,
    *,
    at: datetime,
) -> cases.Done:
    """Take a step with what the form holds, photos included; raises as `dispatch.cases.act` and for bad photos.

    Writes; the caller has put a savepoint around it, so that a refused step leaves no photo on the case.
    """
    process = book.process(case.process, case.process_version)
    step = process.step_for(action, case.state)
    names = process.fields(step, case.kind)
    fields = read(book, entered, names)
    if "photos" in names:
        photos = _attach(session, case, entered, action, at=at)
        if photos:
            fields["photos"] = photos
    return cases.act(session, book, case.id, action, expected_version=version_of(entered), at=at, fields=fields)


def version_of(entered: Mapping[str, str]) -> int:
    """Return the version of the case that the page showed; raises Invalid where a page does not say it."""
    try:
        return int(entered["version"])
    except (KeyError, ValueError) as error:
        raise Invalid("This page is incomplete; load it again.", field="version") from error


def _attach(session: Session, case: Facts, entered: Entered, action: str, *, at: datetime) -> list[str]:
    """Hang the photos of a form on the case and return their ids; what was stored is noted in `entered` for a retry."""
    found: list[tuple[str, attachments.Stored]] = []
    for token in entered.lists.get("photos_kept", ())[:MOST_PHOTOS]:
        kept = _kept(token)
        if kept is not None:
            found.append(kept)
    for purpose in _purposes(action, case.process):
        for data in entered.files.get(f"photos_{purpose}", ())[: MOST_PHOTOS + 1]:
            photo = read_photo(data)
            store().put(photo.sha256, photo.data)
            found.append((purpose, attachments.Stored(photo.sha256, photo.media_type, photo.width, photo.height)))
    if len(found) > MOST_PHOTOS:
        raise Invalid("At most {n} photos can be sent at once.", field="photos", n=MOST_PHOTOS)
    tokens = [
        security.sign_text("photo", f"{purpose}|{one.sha256}|{one.media_type}|{one.width}|{one.height}")
        for purpose, one in found
    ]
    entered.lists["photos_kept"] = tokens
    return [str(attachments.attach(session, case.id, one, purpose=purpose, at=at)) for purpose, one in found]


def _kept(token: str) -> tuple[str, attachments.Stored] | None:
    """Return a photo that was stored when an earlier form was refused; None for a forged or stale token."""
    text = security.read_text("photo", token, KEPT_S)
    if text is None:
        return None
    purpose, digest, media_type, width, height = text.split("|")
    return purpose, attachments.Stored(digest, media_type, int(width), int(height))
