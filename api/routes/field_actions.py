"""A phone's reports and steps: the same intake and the same actions as on every page, each done once.

A report is opened by `hotline.intake` in its own transaction, idempotent by the action's key; photos, the step on the
spot and the receipt follow in a second one, which the same action sent again completes where the first try was cut off.
"""

from contextlib import suppress
from typing import Any

from sqlalchemy.orm import Session

from api import answers, wiring
from api.errors import sentence
from api.i18n import say
from api.pages import public
from api.pages.listing import category_words
from api.routes.field_clock import not_before
from api.routes.field_documents import Result
from api.routes.field_work import Work, once
from core.datums import point
from core.db import transaction
from core.errors import Conflict, Forbidden, Invalid
from dispatch import cases, field_views
from dispatch.field_views import Matter
from dispatch.words import N_
from hotline.intake import Report

SAME = N_("Seen by the grid worker on site: the same matter.")


def report(work: Work) -> Result:
    """Open an event at a point of the own town, and settle it at once where it was settled on the spot."""
    fields = work.action.fields
    work.need_photos()
    category, event = work.text("category", most=40), work.text("event", most=10) or "event"
    if event not in ("event", "part"):
        raise Invalid("An event is a happening or a part.", field="event")
    if category:
        work.book.checked_category(category)
    text = work.text("text", most=10_000) or (category_words(work.book, category) if category else "")
    given = Report(
        "patrol",
        public.words_of(text, work.text("place", most=200)),
        work.moment.happened_at,
        idempotency_key=work.own_key,
        category=category or None,
        event=event,
        **_spot(work),
    )
    receipt = wiring.intake().receive(given, actor=work.actor, at=work.at)
    with transaction(work.actor) as session:
        if (before := once(work, session)) is not None:
            return before
        matter = field_views.one(session, receipt.case_id)
        notes = work.look_at_places(session, matter)
        photos = work.hang(session, receipt.case_id, purpose="report")
        code = ""
        if fields.get("on_spot") and matter is not None and matter.state == "in_cell":
            told = _settle(work, session, matter, photos)
            code = "not_settled" if told else ""
            notes += told
            matter = field_views.one(session, receipt.case_id)
        more = {"emergency": receipt.emergency, "call": receipt.call}
        return work.done(session, work.result(matter, code=code, notes=notes, more=more), case_id=receipt.case_id)


def _settle(work: Work, session: Session, matter: Matter, photos: list[str]) -> list[str]:
    """Settle a new event on the spot; return why not, in the worker's words. The event itself stays taken in."""
    named = {"done": work.text("done"), "note": work.text("note")}
    given: dict[str, Any] = {name: value for name, value in named.items() if value}
    if photos:
        given["photos"] = photos
    try:
        with session.begin_nested():
            cases.act(
                session,
                work.book,
                matter.id,
                "settle",
                expected_version=matter.version,
                at=work.at,
                happened_at=work.moment.happened_at,
                fields=given,
            )
    except (Conflict, Forbidden, Invalid) as error:
        return [say("The event was taken in but not settled: {why}", why=sentence(error))]
    return []


def _spot(work: Work) -> dict[str, Any]:
    """Return the point of a report: where the phone was, else where a photo says that it was taken."""
    place = work.action.position
    if place is not None:
        return {"lng": place.lng, "lat": place.lat, "datum": "WGS84"}
    for one in work.photos.values():
        if one.lng is not None and one.lat is not None:
            with suppress(Invalid):
                point(one.lng, one.lat, "WGS84")
                return {"lng": one.lng, "lat": one.lat, "datum": "WGS84"}
    return {}


def step(work: Work) -> Result:
    """Take a step that the process table offers, from the version that the worker saw."""
    name = work.text("action", most=40)
    given = {key: value for key, value in work.action.fields.items() if key not in ("action", "photos")}
    for key, value in given.items():
        answers.refuse_unfilled(key, value)
    return _act(work, name, given)


def same(work: Work) -> Result:
    """Note on an open matter that the worker found the same one; whoever handles it sees the note and the photos."""
    return _act(work, "note", {"note": work.text("note") or say(SAME, "zh")}, from_now=True)


def _act(work: Work, name: str, given: dict[str, Any], *, from_now: bool = False) -> Result:
    work.need_photos()
    with transaction(work.actor) as session:
        if (before := once(work, session)) is not None:
            return before
        matter = work.case_of(session)
        if work.before is None:
            not_before(work.moment, matter.received_at)
        expected = matter.version if from_now else work.action.base_version
        if expected is None:
            expected = work.before.case_version if work.before else None
        if expected is None:
            raise Invalid("Say which version of the case you saw.", field="base_version")
        photos = work.hang(session, matter.id, purpose="evidence")
        if photos:
            given = {**given, "photos": photos}
        cases.act(
            session,
            work.book,
            matter.id,
            name,
            expected_version=expected,
            at=work.at,
            happened_at=work.moment.happened_at,
            fields=given,
        )
        notes = work.look_at_places(session, matter)
        return work.done(session, work.result(field_views.one(session, matter.id), notes=notes), case_id=matter.id)
