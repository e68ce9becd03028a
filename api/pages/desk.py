"""The operator's desk 话务台: worklist, case and map at once; correct and dispatch in one save; take a call.

Reads through `dispatch.views` and `dispatch.sheet`, changes through `dispatch.cases.act`, understands and receives
through `hotline.intake`. Every endpoint works as a page without scripts; htmx asks for the part that changes.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from dataclasses import fields as dataclass_fields
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api import wiring
from api.deps import Now, Read, require
from api.errors import sentence, status_of
from api.i18n import N_, say
from api.pages import aliases, call, casework, go, handling, page, steps, window
from api.pages.effects import Effect, effects
from api.pages.entered import Form
from api.pages.listing import Asked, asked, category_words, choices, chosen_code, end_of_day
from api.wording import KINDS, URGENCIES, named
from core.actor import Actor, Role
from core.datums import point
from core.errors import Conflict, Invalid, NotFound, WanggeError
from dispatch import cases, views
from dispatch.rulebook import Rulebook
from dispatch.sheet import Facts, Sheet, facts, sheet
from grid.labels import labels
from grid.whereabouts import whereabouts
from hotline import aliases as names_of_places
from hotline.desk import articles

router = APIRouter(include_in_schema=False)
router.include_router(call.router)
router.include_router(handling.router)
router.include_router(aliases.router)

Staff = Annotated[Actor, Depends(require(Role.OPERATOR, Role.SUPERVISOR))]
Operator = Annotated[Actor, Depends(require(Role.OPERATOR))]
StaffWork = Annotated[casework.Work, Depends(casework.work_of(Role.OPERATOR, Role.SUPERVISOR))]
OperatorWork = Annotated[casework.Work, Depends(casework.work_of(Role.OPERATOR))]
#: Said when the page is older than the case.
CHANGED: Final = N_("The case was changed while you looked at it. Nothing of yours is lost: compare and save again.")
#: Who said where it is.
PLACED_BY: Final[Mapping[str, str]] = {
    "geocoder": N_("Found in the text."),
    "reporter": N_("Given by the reporter's phone or map."),
    "operator": N_("Confirmed by an operator."),
}
#: Steps of the window that the desk links to, the way forward first; the others stand on that page anyway.
_LINKED: Final = ("done_at_once", "accept", "accept_gaps", "notice", "deliver", "supply", "hand_in")
#: Lists of the desk in the order of the work, with their words.
TABS: Final[Mapping[str, str]] = {
    "waiting": N_("Waiting"),
    "pleas": N_("To decide"),
    "disputed": N_("To arbitrate"),
    "running": N_("With units"),
    "answered": N_("To call back"),
    "open": N_("All open"),
}
#: Lists that are looked at now and then.
MORE_TABS: Final[Mapping[str, str]] = {
    "supervised": N_("Supervised"),
    "resting": N_("Paused and parked"),
    "merged": N_("Merged"),
    "complex": N_("Complex"),
    "ended": N_("Ended"),
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What the form of a case holds: the case as it is, or what the operator entered and could not save yet."""

    category: str = ""
    kind: str = ""
    urgency: str = ""
    #: yes or no; empty where the form does not ask.
    complex: str = ""
    #: `keep`, `spot-1` … for a candidate, or `point` for one chosen on the map.
    place: str = "keep"
    lng: str = ""
    lat: str = ""
    place_name: str = ""
    #: `rule` for the proposed unit, `other` for the one in `unit`.
    to: str = "rule"
    unit: str = ""
    #: The unit that stood beside `rule` when the form was sent.
    proposed: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that somebody else changed, or that differs from what stands there now."""

    label: str
    now: str
    yours: str


@router.get("/desk")
def desk(request: Request, session: Read, actor: Staff, at: Now, case: str = "") -> Response:
    """Show the list, the case that the address names (else the first), and the map."""
    book = wiring.rulebook()
    wanted = asked(request, box="waiting")
    listed = views.worklist(session, wanted.filter, at=at, sort=wanted.sort, after=wanted.after or None)
    number = case or (listed.rows[0].number if listed.rows and not wanted.after else "")
    context = _detail(session, book, actor, number, at=at) if number else {}
    context |= _list(wanted, listed, at=at)
    return page(
        request,
        "desk/desk.html",
        counts=views.counts(session, at=at, soon=end_of_day(at)),
        choices=choices(book),
        tabs=TABS,
        more_tabs=MORE_TABS,
        names_waiting=names_of_places.count(session),
        **context,
    )


@router.get("/desk/list")
def more(request: Request, session: Read, actor: Staff, at: Now) -> Response:
    """Show the next page of the list, to be put under the last."""
    del actor
    wanted = asked(request, box="waiting")
    listed = views.worklist(session, wanted.filter, at=at, sort=wanted.sort, after=wanted.after or None)
    return page(request, "desk/rows.html", **_list(wanted, listed, at=at))


@router.get("/desk/arrived")
def arrived(request: Request, session: Read, actor: Staff, at: Now, since: datetime) -> Response:
    """Say how many cases came into this list since it was drawn; nothing jumps by itself."""
    del actor
    if since.tzinfo is None:
        raise Invalid("The time {moment} does not say its time zone.", field="since", moment=str(since))
    wanted = asked(request, box="waiting")
    fresh = views.arrived(session, wanted.filter, at=at, since=since)
    urgent = views.arrived(session, replace(wanted.filter, urgency="emergency"), at=at, since=since) if fresh else 0
    return page(request, "desk/arrived.html", fresh=fresh, urgent=urgent, most=views.MAX_PAGE, query=wanted.query)


@router.get("/desk/names")
def names(session: Read, actor: Staff, bbox: str) -> Response:
    """Answer the names to write on the map: `bbox` is west, south, east, north in degrees."""
    del actor
    try:
        west, south, east, north = (float(part) for part in bbox.split(","))
    except ValueError as error:
        raise Invalid("A box on the map is west, south, east, north.", field="bbox") from error
    found = labels(session, west=west, south=south, east=east, north=north)
    return Response(
        orjson.dumps(found), media_type="application/json", headers={"Cache-Control": "private, max-age=600"}
    )


@router.get("/desk/case/{number}")
def one(request: Request, session: Read, actor: Staff, at: Now, number: str) -> Response:
    """Show one case beside the list; as a whole page where no script asks for it."""
    if not request.headers.get("hx-request"):
        return go(f"/desk?case={number}")
    context = _detail(session, wiring.rulebook(), actor, number, at=at)
    return page(request, "desk/detail.html", back=asked(request, box="waiting").query, **context)


@router.get("/desk/case/{number}/proposal")
def proposal(request: Request, session: Read, actor: Operator, number: str, form: Form) -> Response:
    """Say which unit the rules propose for the category and place that the form holds now, and why."""
    del actor
    book = wiring.rulebook()
    case = facts(session, _id(session, number))
    return page(request, "desk/proposal.html", draft=_draft(form), **proposed_for(session, book, case, _draft(form)))


@router.get("/desk/case/{number}/{action}/effects")
def told(request: Request, session: Read, actor: Staff, *, at: Now, number: str, action: str, form: Form) -> Response:
    """Say what a step would do to the clocks with what its form holds so far."""
    book = wiring.rulebook()
    found = sheet(session, _id(session, number))
    offered = (one for one in cases.offered(session, book, found.case.id, at=at) if one.action == action)
    said = [effects(book, found, one, actor=actor, at=at, given=form.plain) for one in offered]
    return page(request, "case/effects.html", effects=said[0] if said else ())


@router.post("/desk/case/{number}/save")
def save(work: OperatorWork, number: str) -> Response:
    """Correct place, category, kind and urgency, and dispatch where asked, in one save; nothing is lost on refusal."""
    action = "dispatch" if work.form.get("do") == "dispatch" else "correct"
    return _tried(work, number, action, lambda case_id: _save(work, case_id, send=action == "dispatch"))


@router.post("/desk/case/{number}/{action}")
def step(work: StaffWork, number: str, action: str) -> Response:
    """Take any other step that the process table offers, with the fields it asks for."""
    return _tried(
        work,
        number,
        action,
        lambda case_id: steps.take(
            work.session, work.book, facts(work.session, case_id), action, work.form, at=work.at
        ),
    )


def _tried(work: casework.Work, number: str, action: str, change: Callable[[uuid.UUID], object]) -> Response:
    """Answer with the case after a change, or with the case as it is, the entered values and what is wrong."""
    case_id = _id(work.session, number)
    try:
        # A change that is refused half-way leaves nothing, and the page that says so is read in the same transaction.
        with work.session.begin_nested():
            change(case_id)
    except (Conflict, Invalid) as error:
        return _again(work, number, action, error)
    return _done(work, number, action)


def _save(work: casework.Work, case_id: uuid.UUID, *, send: bool) -> None:
    book, draft, now = work.book, _draft(work.form), facts(work.session, case_id)
    if now.version != steps.version_of(work.form):
        raise Conflict(CHANGED)
    fields = _changes(book, now, draft)
    action = "correct" if fields else "dispatch"
    if not fields and not send:
        raise Invalid("Nothing was changed: choose another place, category, kind or urgency first.")
    version = now.version
    helpers = steps.read(book, work.form, ("assist",)) if send else {}
    if helpers and fields:
        # A correction that dispatches in the same step knows no assisting units: two steps, still one save.
        version = cases.act(
            work.session, book, case_id, "correct", expected_version=version, at=work.at, fields=fields
        ).version
        action, fields = "dispatch", {}
    if send:
        fields |= {"unit": _unit(book, draft)} | helpers
    if draft.note:
        fields["note"] = draft.note
    cases.act(work.session, book, case_id, action, expected_version=version, at=work.at, fields=fields)


def _id(session: Session, number: str) -> uuid.UUID:
    found = views.find_number(session, number)
    if found is None:
        raise NotFound("There is no case with this number, or it is not yours to see.")
    return found


def _list(wanted: Asked, listed: views.Page, *, at: datetime) -> dict[str, Any]:
    return {"asked": wanted, "listed": listed, "drawn_at": at.isoformat(), "query": wanted.query}


def _detail(
    session: Session,
    book: Rulebook,
    actor: Actor,
    number: str,
    *,
    at: datetime,
    draft: Draft | None = None,
    **tried: Any,
) -> dict[str, Any]:
    """Return what the middle of the desk shows of one case; `tried` is a refused form, as `steps.offers` takes it."""
    found = sheet(session, _id(session, number))
    case = found.case
    guessed = casework.guesses(book, case)
    offered = steps.offers(session, book, found, actor, at=at, **tried)
    names = {offer.step.action for offer in offered}
    # What needs checklist and files in view is done on the window's page.
    elsewhere = window.OWN if case.process == "service_item" else frozenset()
    likely = next((guess.words for guess in guessed.categories if guess.code), "")
    kept = next((spot for spot in guessed.spots if _same(spot, case)), None)
    filled = draft or Draft(
        category=category_words(book, case.category_code) or likely,
        kind=case.kind,
        urgency=case.urgency,
        complex="yes" if case.complex else "no",
        place="keep" if case.lng is not None or not guessed.spots else "",
        place_name=case.place_name,
    )
    return {
        "sheet": found,
        "case": case,
        "query": "",
        "guesses": guessed,
        "offers": [offer for offer in offered if offer.step.action not in ("correct", "dispatch", *elsewhere)],
        "at_window": _linked(offered) if elsewhere else (),
        "denial": _denial(book, found),
        "can_correct": "correct" in names,
        "can_dispatch": "dispatch" in names,
        "can_merge": "merge" in names,
        # What the process lets an operator correct: a patrol event has no kinds.
        "corrects": _known(book, case, "correct") if "correct" in names else (),
        "asks_assist": "dispatch" in names and "assist" in _known(book, case, "dispatch"),
        "dispatch_effects": _effects_of(offered, "dispatch"),
        "merge_effects": _effects_of(offered, "merge"),
        "days": casework.timeline(book, found.entries),
        "hanging": casework.parts_of(book, found, at=at),
        "assist": tried["entered"].lists.get("assist", []) if tried.get("entered") else [],
        "twins": _twins(session, guessed),
        "answered_from": articles.used(session, case.id),
        "why": [(share, casework.why_here(book, share.why)) for share in found.shares if share.share == "lead"],
        "seen": found.entries[-1].seq if found.entries else 0,
        "map": orjson.dumps(_drawn(case, guessed)).decode(),
        "kept_spot": kept.no if kept else 0,
        "kept_why": kept.why if kept else say(PLACED_BY.get(case.place_by or "", "")),
        "draft": filled,
        # A refused correction is shown open.
        "correcting": draft is not None,
        **proposed_for(session, book, case, filled),
    }


def _linked(offered: Sequence[steps.Offer]) -> tuple[steps.Offer, ...]:
    """Return the steps to be taken on the window's page, in the order of the work."""
    found = {offer.step.action: offer for offer in offered}
    return tuple(found[action] for action in _LINKED if action in found)


def _denial(book: Rulebook, found: Sheet) -> tuple[str, ...]:
    """Return why a unit would refuse what must be granted, for whoever decides about that; else nothing."""
    if found.case.state != "denial_review":
        return ()
    said = [entry for entry in found.entries if entry.action == "propose_denial"]
    return casework.entry_lines(book, said[-1]) if said else ()


def _effects_of(offered: Sequence[steps.Offer], action: str) -> tuple[Effect, ...]:
    return next((offer.effects for offer in offered if offer.step.action == action), ())


def _known(book: Rulebook, case: Facts, action: str) -> tuple[str, ...]:
    """Return the fields that a step understands in the state of a case."""
    process = book.process(case.process, case.process_version)
    return process.fields(process.step_for(action, case.state), case.kind)


def _same(spot: casework.Spot, case: Facts) -> bool:
    """Return whether a candidate is the very place that the case has."""
    return (
        case.lng is not None and case.lat is not None and max(abs(spot.lng - case.lng), abs(spot.lat - case.lat)) < 2e-6
    )


def _twins(session: Session, guessed: casework.Guesses) -> list[tuple[str, str, casework.Twin]]:
    """Return number and state of the possible twins that the operator may see."""
    known = views.numbers(session, [twin.case_id for twin in guessed.twins])
    return [(*known[twin.case_id], twin) for twin in guessed.twins if twin.case_id in known]


def _drawn(case: Facts, guessed: casework.Guesses) -> dict[str, Any]:
    """Return what the map shows of a case: its place, the candidates with their circles, and which cells to fetch."""
    place = None
    if case.lng is not None:
        place = {"lng": case.lng, "lat": case.lat, "radius_m": case.radius_m, "name": case.place_name}
    spots = [asdict(spot) for spot in guessed.spots]
    return {"number": case.number, "place": place, "spots": spots, "town": case.town_code, "cell": case.cell_code}


def _draft(form: Mapping[str, str]) -> Draft:
    return Draft(**{field.name: form[field.name] for field in dataclass_fields(Draft) if field.name in form})


def _spot(book: Rulebook, case: Facts, draft: Draft) -> tuple[float, float, str] | None:
    """Return lon, lat (EPSG:4490) and name of the place that the form chose; None where the place stays as it is."""
    if draft.place == "point":
        try:
            spot = point(float(draft.lng), float(draft.lat), "CGCS2000", field="place")
        except ValueError as error:
            raise Invalid("Click on the map to choose the place.", field="place") from error
        return spot.x, spot.y, draft.place_name.strip()
    if draft.place.startswith("spot-"):
        for spot in casework.guesses(book, case).spots:
            if draft.place == f"spot-{spot.no}":
                return spot.lng, spot.lat, spot.name
        raise Invalid("This candidate is not there any more; choose the place again.", field="place")
    return None


def proposed_for(session: Session, book: Rulebook, case: Facts, draft: Draft) -> dict[str, Any]:
    """Return which unit the rules name for the form as it stands, why, and what is wrong if they cannot say."""
    try:
        written = draft.category.strip()
        category = chosen_code(choices(book).categories, written, field="category") if written else case.category_code
        chosen = _spot(book, case, draft)
        areas: tuple[str | None, ...] = (case.town_code, case.community_code, case.cell_code)
        if chosen is not None:
            where = whereabouts(session, book.district, chosen[0], chosen[1])
            areas = (where.town, where.community, where.cell)
        decision = book.routing.assign(category, tuple(code for code in areas if code), case.received_at)
    except Invalid as error:
        return {"proposed": "", "proposed_name": "", "proposed_why": (), "proposed_problem": sentence(error)}
    return {
        "proposed": decision.unit,
        "proposed_name": book.unit_name(decision.unit),
        "proposed_why": casework.why_here(book, decision.why),
        "proposed_problem": "",
    }


def _changes(book: Rulebook, case: Facts, draft: Draft) -> dict[str, Any]:
    """Return the fields of `correct` that differ from the case; raises Invalid, naming the field."""
    fields: dict[str, Any] = {}
    if draft.category.strip():
        code = chosen_code(choices(book).categories, draft.category, field="category")
        if code != case.category_code:
            fields["category"] = code
    for name, now in (("kind", case.kind), ("urgency", case.urgency)):
        value = getattr(draft, name)
        if value and value != now:
            fields[name] = value
    if draft.complex and (draft.complex == "yes") != case.complex:
        fields["complex"] = draft.complex
    chosen = _spot(book, case, draft)
    if chosen is not None:
        lng, lat, name = chosen
        fields |= {"lng": lng, "lat": lat, "datum": "CGCS2000", "place_name": name}
    return fields


def _unit(book: Rulebook, draft: Draft) -> str:
    if draft.to == "other" or not draft.proposed:
        return chosen_code(choices(book).units, draft.unit, field="unit")
    return draft.proposed


def _again(work: casework.Work, number: str, action: str, error: WanggeError) -> Response:
    """Show the case as it is now with everything the operator entered, what is wrong, and what others changed."""
    form = work.form
    ours = _draft(form) if action in ("correct", "dispatch") else None
    refused = {"tried": action, "entered": form, "error": error, "problem": sentence(error)}
    context = _detail(work.session, work.book, work.actor, number, at=work.at, draft=ours, **refused)
    if casework.already_done(context["sheet"], work.actor, action, seen=casework.seen_of(form)):
        return _done(work, number, action, repeated=True)
    stale = isinstance(error, Conflict)
    later = casework.since(context["sheet"], casework.seen_of(form)) if stale else ()
    context |= {
        "problem": sentence(error),
        "problem_field": error.field or "",
        "meanwhile": casework.logged(work.book, later),
        "differences": _differences(work.book, context["case"], ours) if stale and ours else (),
        "back": form.get("back", ""),
    }
    if not work.request.headers.get("hx-request"):
        return page(work.request, "desk/alone.html", status=status_of(error), **context)
    response = page(work.request, "desk/detail.html", status=status_of(error), **context)
    # Errors go to the page's problem box unless they say where they belong.
    response.headers["HX-Retarget"] = "#detail"
    response.headers["HX-Reswap"] = "innerHTML"
    return response


def _done(work: casework.Work, number: str, action: str, *, repeated: bool = False) -> Response:
    """Show the case after a step, with what was done; scripts are told so that the list can mark it and go on."""
    back = work.form.get("back", "")
    if not work.request.headers.get("hx-request"):
        return go(f"/desk?{back}&case={number}")
    context = _detail(work.session, work.book, work.actor, number, at=work.at)
    said = casework.done_words(work.book, context["case"], action, at=work.at, repeated=repeated)
    response = page(work.request, "desk/detail.html", done=said, back=back, **context)
    told = {"desk:done": {"number": number, "state": context["case"].state, "action": action}}
    response.headers["HX-Trigger-After-Swap"] = orjson.dumps(told).decode()
    return response


def _differences(book: Rulebook, case: Facts, draft: Draft) -> list[Difference]:
    """Return where the form and the case as it is now part."""
    yours_unit = draft.unit if draft.to == "other" else book.unit_name(draft.proposed)
    pairs = [
        (say("Category"), category_words(book, case.category_code), draft.category),
        (say("Kind"), named(case.kind, KINDS), named(draft.kind, KINDS)),
        (say("Urgency"), named(case.urgency, URGENCIES), named(draft.urgency, URGENCIES)),
        (say("Unit"), book.unit_name(case.unit_code), yours_unit),
    ]
    try:
        chosen = _spot(book, case, draft)
    except Invalid:
        chosen = None
    if chosen is not None:
        pairs.append((say("Place"), case.place_name, chosen[2] or f"{chosen[0]:.5f}, {chosen[1]:.5f}"))
    return [Difference(label, now or "—", yours or "—") for label, now, yours in pairs if yours and now != yours]
