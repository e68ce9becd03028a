"""A matter as the person concerned sees it 市民视角: look up by number and code, follow, add, rate, take back.

Number alone shows bare steps and names nobody; the code of the receipt opens the own view for an hour. The program has
checked the code when it acts for the anonymous citizen: that is what pins the case. Complaints and applications alike.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import deps, item_words, security, wiring
from api.deps import Now
from api.errors import sentence, status_of
from api.i18n import say
from api.pages import filing, go, page
from api.pages.telling import CHECKED, EVENTS, HEADS, NEXT, OPENED, RUNGS, of
from api.photos import Photo, read_photo, store
from api.wording import CHINA, CLOCKS, ROLES, moment_words, named
from core.actor import citizen, system
from core.db import acting_as, pin_case, snapshot, transaction
from core.errors import Conflict, Forbidden, Invalid, NotFound, WanggeError
from core.ids import is_checked
from dispatch import attachments, cases, sheet
from dispatch.citizen import Event, Story, story
from dispatch.fields import FIELDS, PAUSE_REASONS, SATISFACTION, SERVICES
from dispatch.identity import Opened
from dispatch.items import filed as archive
from dispatch.items.application_models import InformationRequest
from dispatch.numbers import access_code, access_hash, spoken
from dispatch.rulebook import Rulebook
from grid.openings import REASONS

router = APIRouter(include_in_schema=False)

#: Holds the number whose code was shown, signed.
OWN_COOKIE = "wg_own"
OWN_S = 3600
#: Tries from one network address, or for one number, in ten minutes.
MOST_LOOKUPS, MOST_CODES, MOST_ADDED = 60, 10, 20
MOST_PHOTOS = 3
_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Seen:
    """A matter, and what its own person is told of it; nothing more for everybody else."""

    matter: sheet.Progress
    #: None where the code was not shown.
    story: Story | None
    #: What an application consists of, and what was asked for, where it is one.
    filed: archive.Filed | None = None
    asked: InformationRequest | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what happened."""

    said: str
    at: datetime
    words: str = ""
    photos: tuple[uuid.UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Coming:
    """What happens next, and until when."""

    said: str
    due_at: datetime | None
    over: bool = False


@router.get("/progress")
def ask(request: Request, number: str = "") -> Response:
    """Ask for the number and, for one's own view, the code."""
    return page(request, "public/ask.html", number=number[:20], problem="")


@router.post("/progress")
def look_up(request: Request, number: Annotated[str, Form()] = "", code: Annotated[str, Form()] = "") -> Response:
    """Check number and code and go on to the matter's page."""
    number = re.sub(r"[\s\-]", "", number).upper()[:30]
    deps.throttle(request, "lookup", deps.address_of(request), most=MOST_LOOKUPS)
    problem = ""
    if not is_checked(number):
        problem = say("This number has a typing mistake; compare it with the receipt.")
    else:
        if code.strip():
            deps.throttle(request, "code", number, most=MOST_CODES)
        try:
            with snapshot(system(deps.district(), "progress")) as session:
                sheet.progress(session, number, access_hash=access_hash(number, code) if code.strip() else None)
        except NotFound as error:
            problem = sentence(error)
    if problem:
        return page(request, "public/ask.html", status=404, number=number, problem=problem)
    answer = go(f"/progress/{number}")
    if code.strip():
        remember(answer, number)
    return answer


@router.get("/progress/{number}")
def progress(request: Request, number: str, at: Now) -> Response:
    """Show how far a matter is; more to whoever has shown its code."""
    return shown(request, number, at=at)


@router.post("/progress/{number}/rate")
def rate(
    request: Request,
    number: str,
    at: Now,
    *,
    version: Annotated[int, Form()],
    satisfaction: Annotated[str, Form()] = "",
    solved: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    """Take the rating: solved closes the matter where nothing else is due, not solved sends it back once."""
    own = _own(request, number, at=at)
    offered = own.story.offered if own.story else {}
    words = note.strip()[:_LONGEST]
    if own.story and own.story.rated is not None:
        raise Conflict("This matter was rated already; thank you.")
    asks = bool({"callback", "rework"} & offered.keys())
    if asks and solved not in ("yes", "no"):
        return shown(
            request,
            number,
            at=at,
            error=Invalid("Please say whether the matter is solved.", field="solved"),
            entered={"note": words, "satisfaction": satisfaction},
        )
    wished = {"yes": "callback", "no": "rework"}.get(solved, "rate") if asks else "rate"
    # A matter that is looked at on site first, or was done again once already, still takes the rating.
    action = wished if wished in offered else "rate"
    fields = {"satisfaction": satisfaction} | ({"reason" if action == "rework" else "note": words} if words else {})
    return _step(request, own.matter, action, version=version, at=at, fields=fields)


@router.post("/progress/{number}/withdraw")
def withdraw(
    request: Request,
    number: str,
    at: Now,
    *,
    version: Annotated[int, Form()],
    reason: Annotated[str, Form()] = "",
    sure: Annotated[str, Form()] = "",
) -> Response:
    """Take the matter back, with a reason, once the person has said that they are sure."""
    own = _own(request, number, at=at)
    words = reason.strip()[:_LONGEST]
    if sure != "yes":
        unsure = Invalid("Tick that you are sure: what is taken back is not handled any further.", field="sure")
        return shown(request, number, at=at, error=unsure, entered={"reason": words})
    return _step(request, own.matter, "withdraw", version=version, at=at, fields={"reason": words})


@router.post("/progress/{number}/add")
def add(
    request: Request,
    number: str,
    at: Now,
    *,
    version: Annotated[int, Form()],
    note: Annotated[str, Form()] = "",
    photo: Annotated[list[UploadFile] | None, File()] = None,
) -> Response:
    """Add words and photos to an open matter; a second press of the same button adds nothing twice."""
    own = _own(request, number, at=at)
    deps.throttle(request, "add", own.matter.number, most=MOST_ADDED)
    words = note.strip()[:_LONGEST]
    try:
        photos = read_photos(photo or [])
        if not words and photos:
            words = say("{n} photos", "zh", n=len(photos))
        if version < own.matter.version and _added_already(own, words):
            return go(f"/progress/{own.matter.number}?done=add")
        _add(own.matter, words, photos, at=at)
    except (Conflict, Invalid) as error:
        return shown(request, number, at=at, error=error, entered={"add": words})
    return go(f"/progress/{own.matter.number}?done=add")


@router.post("/progress/{number}/material")
def material(request: Request, number: str, at: Now, posted: filing.Form) -> Response:
    """Hand in one material of an application, with its files; one that was owed is settled by it."""
    own = _own(request, number, at=at)
    deps.throttle(request, "add", own.matter.number, most=MOST_ADDED)
    code = posted.text("code", most=40)
    try:
        stored = _material_files(own, code, posted)
        with transaction(citizen(deps.district())) as session:
            pin_case(session, own.matter.id)
            for one in stored:
                archive.attach(session, own.matter.id, code, one, at=at)
            version = own.matter.version
            fields = {"materials": [code]}
            book = wiring.rulebook()
            cases.act(session, book, own.matter.id, "hand_in", expected_version=version, at=at, fields=fields)
    except (Conflict, Invalid) as error:
        return shown(request, number, at=at, error=error)
    return go(f"/progress/{own.matter.number}?done=hand_in#h-materials")


def _material_files(own: Seen, code: str, posted: filing.Posted) -> list[archive.Upload]:
    """Return the stored files of a material that the application asks for; raises Invalid."""
    if own.filed is None or code not in {one.code for one in own.filed.materials}:
        raise Invalid("Choose the material that you hand in.", field="code")
    sent = posted.files.get("file", [])
    if not sent:
        raise Invalid("Choose a photo or a PDF of it.", field="file")
    return [filing.keep(name, data).upload for name, data in sent]


@router.post("/progress/{number}/supply")
def supply(
    request: Request, number: str, at: Now, *, version: Annotated[int, Form()], wanted: Annotated[str, Form()] = ""
) -> Response:
    """Say that everything is handed in, or make clear what is asked for."""
    own = _own(request, number, at=at)
    words = wanted.strip()[:_LONGEST]
    fields = {"wanted": words} if own.asked else {}
    return _step(request, own.matter, "supply", version=version, at=at, fields=fields)


@router.post("/progress/{number}/pickup")
def pickup(
    request: Request, number: str, at: Now, *, version: Annotated[int, Form()], place: Annotated[str, Form()] = ""
) -> Response:
    """Choose another place to fetch the result."""
    own = _own(request, number, at=at)
    fields = {"pickup_place": place.strip()[:40]}
    return _step(request, own.matter, "choose_pickup", version=version, at=at, fields=fields)


def _added_already(own: Seen, words: str) -> bool:
    last = own.story.events[-1] if own.story and own.story.events else None
    return last is not None and last.action == "add" and last.words == words


def _add(matter: sheet.Progress, words: str, photos: list[Photo], *, at: datetime) -> None:
    """Write the addition under the version that is there: it says nothing about what others did meanwhile."""
    for one in photos:
        store().put(one.sha256, one.data)
    with transaction(citizen(deps.district())) as session:
        fields: dict[str, Any] = {"note": words}
        if photos:
            with acting_as(session, system(deps.district(), "progress")):
                fields["photos"] = [str(attach(session, matter.id, one, at=at)) for one in photos]
        pin_case(session, matter.id)
        now = matter.version
        cases.act(session, wiring.rulebook(), matter.id, "add", expected_version=now, at=at, fields=fields)


def attach(session: Session, case_id: uuid.UUID, photo: Photo, *, at: datetime) -> uuid.UUID:
    """Hang a photo of the person on a case, whose bytes are stored already."""
    kept = attachments.Stored(photo.sha256, photo.media_type, photo.width, photo.height)
    return attachments.attach(session, case_id, kept, purpose="report", at=at)


def read_photos(given: list[UploadFile]) -> list[Photo]:
    """Return the photos of a form, re-encoded; raises Invalid before anything is written."""
    sent = [file for file in given if file.filename or file.size]
    if len(sent) > MOST_PHOTOS:
        raise Invalid("At most {n} photos can be sent with a report.", field="photo", n=MOST_PHOTOS)
    return [read_photo(file.file.read(security.PHOTO_LIMIT + 1)) for file in sent]


def _step(
    request: Request, matter: sheet.Progress, action: str, *, version: int, at: datetime, fields: dict[str, Any]
) -> Response:
    """Do a step as the person whose code was checked; a refusal shows the page again with what was entered."""
    try:
        act(matter.id, action, version=version, at=at, fields=fields)
    except (Conflict, Invalid) as error:
        return shown(request, matter.number, at=at, error=error, entered=fields)
    return go(f"/progress/{matter.number}?done={action}")


def act(case_id: uuid.UUID, action: str, *, version: int, at: datetime, fields: dict[str, Any]) -> None:
    """Do a step as the anonymous citizen, for whom the checked code opens the case."""
    with transaction(citizen(deps.district())) as session:
        pin_case(session, case_id)
        cases.act(session, wiring.rulebook(), case_id, action, expected_version=version, at=at, fields=fields)


@router.get("/progress/{number}/photos/{attachment_id}")
def own_photo(request: Request, number: str, attachment_id: uuid.UUID, at: Now) -> Response:
    """Answer one's own photo, or one that shows what was done; evidence of the unit is not the reporter's to see."""
    own = _own(request, number, at=at)
    if own.story is None or attachment_id not in (*own.story.photos, *own.story.shown):
        raise NotFound("This photo is not there.")
    with snapshot(system(deps.district(), "progress")) as session:
        return picture(attachments.stored(session, own.matter.id, attachment_id))


@router.get("/photos/{case_id}/{attachment_id}")
def photo_of_case(session: deps.Read, case_id: uuid.UUID, attachment_id: uuid.UUID) -> Response:
    """Answer a photo to whoever may see the case."""
    sheet.facts(session, case_id)
    return picture(attachments.stored(session, case_id, attachment_id))


def picture(kept: attachments.Stored) -> Response:
    """Answer the bytes of a stored photo, which no browser takes for anything else."""
    return Response(
        store().get(kept.sha256),
        media_type=kept.media_type,
        headers={
            "Cache-Control": "private, max-age=3600",
            "Content-Disposition": f'inline; filename="{kept.sha256[:12]}.jpg"',
            "Content-Security-Policy": "default-src 'none'",
        },
    )


def remember(answer: Response, number: str) -> None:
    """Let this browser open the reporter's own view of one matter for an hour."""
    answer.headers.append("set-cookie", security.cookie(OWN_COOKIE, security.sign_text("own", number), age_s=OWN_S))


def shown(
    request: Request,
    number: str,
    *,
    at: datetime,
    error: WanggeError | None = None,
    entered: Mapping[str, str] | None = None,
) -> Response:
    """Draw the matter's page; after a refusal with the reason on top and everything that was entered kept."""
    seen = _seen(request, number, at=at)
    book = wiring.rulebook()
    done = request.query_params.get("done", "")
    return page(
        request,
        "public/progress.html",
        status=status_of(error) if error else 200,
        problem=sentence(error) if error else "",
        entered=entered or {},
        done=done if done in EVENTS and request.method == "GET" else "",
        matter=seen.matter,
        story=seen.story,
        filed=seen.filed,
        asked=seen.asked,
        words=item_words,
        head=say(of(HEADS, seen.matter.process, seen.matter.state, "")),
        coming=coming(seen),
        lines=lines(seen, book),
        why_paused=named(seen.story.paused_for, PAUSE_REASONS) if seen.story else "",
        late=late(seen),
        opened_words=OPENED,
        who_opened=lambda one: who_opened(one, book),
        reasons=REASONS,
        alias=seen.story.alias if seen.story else "",
        satisfaction=SATISFACTION,
        most_photos=MOST_PHOTOS,
        spoken=spoken(seen.matter.number),
    )


def who_opened(one: Opened, book: Rulebook) -> str:
    """Return who opened something, as the person concerned is told: role and unit, not the official's name."""
    if one.actor_role is None:
        return one.actor_name
    role = named(one.actor_role, ROLES)
    return f"{role}（{book.unit_name(one.unit_code)}）" if one.unit_code else role


def coming(seen: Seen) -> tuple[Coming, ...]:
    """Return what happens next: for strangers without the dates."""
    running = seen.story.running if seen.story else {}
    found = []
    for said, clock in of(NEXT, seen.matter.process, seen.matter.state, ()):
        one = running.get(clock)
        if seen.story is None or (one is not None and not one.held):
            found.append(Coming(say(said), one.due_at if one else None, over=one.over if one else False))
    return tuple(found)


def late(seen: Seen) -> str:
    """Return who knows that a matter is late, in words; empty where nothing is late."""
    if seen.story is None or not any(clock.over and not clock.held for clock in seen.story.running.values()):
        return ""
    told = [event.facts.get("rung") for event in seen.story.events if event.action == "overdue"]
    return named(told[-1], RUNGS) if told and told[-1] else say("the head of the responsible unit, within minutes")


def lines(seen: Seen, book: Rulebook) -> tuple[Line, ...]:
    """Return what happened, oldest first, in plain words."""
    if seen.story is None:
        bare = ((step, of(EVENTS, seen.matter.process, step.action, ("", ""))[0]) for step in seen.matter.steps)
        return tuple(Line(say(words), step.at) for step, words in bare if words)
    names = {one.code: one.name for one in seen.filed.materials} if seen.filed else {}
    process = seen.matter.process
    told = ((event, of(EVENTS, process, event.action, ("", ""))) for event in seen.story.events)
    return tuple(_line(event, words, book, names) for event, words in told if words[0])


def _line(event: Event, told: tuple[str, str], book: Rulebook, materials: Mapping[str, str]) -> Line:
    bare, filled = told
    words: dict[str, str] = {}
    for name, value in event.facts.items():
        if name == "materials":
            words[name] = "、".join(materials.get(str(code), str(code)) for code in value)
        else:
            words[name] = _fact(name, value, book)
    try:
        said = say(filled, **words) if filled and words else say(bare)
    except KeyError:
        said = say(bare)
    return Line(said, event.at, event.words, event.photos)


def _fact(name: str, value: Any, book: Rulebook) -> str:
    """Return a told member of a log entry in words."""
    code = str(value)
    if name == "unit":
        return book.unit_name(code)
    if name in ("due_at", "survey_at"):
        moment = datetime.fromisoformat(code)
        return moment_words(moment if moment.tzinfo else moment.replace(tzinfo=CHINA), now=wiring.now())
    tables: Mapping[str, Mapping[str, str]] = {
        "reason_code": PAUSE_REASONS,
        "clock": CLOCKS,
        "rung": RUNGS,
        "checked": CHECKED,
        "service": SERVICES,
        "satisfaction": SATISFACTION,
    }
    choices = FIELDS[name].choices if name in FIELDS else {}
    return named(code, tables.get(name, choices))


def _seen(request: Request, number: str, *, at: datetime) -> Seen:
    """Return a matter as far as this browser may see it; raises NotFound, and TooMany for who tries numbers."""
    if not is_checked(number):
        raise NotFound("There is no matter with this number.")
    own = _shown(request) == number.upper()
    if not own:
        deps.throttle(request, "lookup", deps.address_of(request), most=MOST_LOOKUPS)
    with snapshot(system(deps.district(), "progress")) as session:
        key = access_hash(number, access_code(number)) if own else None
        matter = sheet.progress(session, number, access_hash=key)
    if not own:
        return Seen(matter, None)
    with snapshot(citizen(deps.district())) as session:
        told = story(session, wiring.rulebook(), matter.id, at=at)
        filed = archive.filed(session, matter.id) if matter.process == "service_item" else None
        asked = archive.request(session, matter.id) if matter.process == "information" else None
    return Seen(matter, told, filed, asked)


def _shown(request: Request) -> str | None:
    return security.read_text("own", request.cookies.get(OWN_COOKIE, ""), OWN_S)


def _own(request: Request, number: str, *, at: datetime) -> Seen:
    """Return the matter whose code this browser has shown; raises Forbidden for any other."""
    seen = _seen(request, number, at=at)
    if seen.story is None:
        raise Forbidden("Show the code of the receipt first.")
    return seen
