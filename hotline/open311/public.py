"""What everybody may read of requests 公开查询: lists, single ones, and the number behind a token. Writes nothing.

Only what came through Open311 is shown through Open311, without names and numbers of persons and without the house's
own words: who told a neighbour's matter on the telephone did not publish it.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from core.crypto import unseal
from core.db import actor_of
from core.errors import Invalid, NotFound
from dispatch.models import Case, Deadline, Entry
from dispatch.rulebook import Rulebook
from dispatch.words import N_
from hotline.masking import mask
from hotline.open311 import times
from hotline.open311.models import Open311Request
from hotline.open311.services import Service

#: The standard's limits.
SPAN, MOST = timedelta(days=90), 1000
#: Pages of lists end here, so that no list is read whole by pages.
_DEEPEST = 10_000
#: What the sender is told of states by which a matter ends without an answer; English msgids.
NOTES: Mapping[str, str] = {
    "refused": N_("Not accepted: the matter is out of scope here."),
    "handed_over": N_("Handed over to the emergency services."),
    "withdrawn": N_("Taken back by the reporter."),
}


def number_of(session: Session, token: uuid.UUID) -> str | None:
    """Return the case number of a token, None while it waits; raises NotFound. Reads."""
    here = actor_of(session).district
    row = session.execute(
        select(Case.number)
        .select_from(Open311Request)
        .join(Case, and_(Case.district_code == here, Case.id == Open311Request.case_id), isouter=True)
        .where(Open311Request.district_code == here, Open311Request.id == token)
    ).first()
    if row is None:
        raise NotFound(N_("There is no such token."))
    return row[0]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is asked for."""

    numbers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    #: Aware; requested in [since, until].
    since: datetime | None = None
    until: datetime | None = None
    #: True open, False closed, None both.
    open: bool | None = None
    page: int = 1
    page_size: int = MOST


def read_query(given: Mapping[str, str], offered: Mapping[str, Service], *, at: datetime) -> Wanted:
    """Return what the parameters of a list ask for; raises Invalid, and NotFound for an unknown service."""
    numbers = _split(given.get("service_request_id", ""), "service_request_id")
    # They outweigh all other parameters.
    if numbers:
        return Wanted(numbers=numbers)
    services = _split(given.get("service_code", ""), "service_code")
    if any(code not in offered for code in services):
        raise NotFound(N_("There is no service with this service_code."), field="service_code")
    states = set(_split(given.get("status", ""), "status"))
    if states - {"open", "closed"}:
        raise Invalid(N_("status is open or closed."), field="status")
    since, until = (
        times.read(given[name], field=name) if given.get(name) else None for name in ("start_date", "end_date")
    )
    if since is None and until is None:
        since = at - SPAN
    elif until is None and since is not None:
        until = since + SPAN
    elif since is None and until is not None:
        since = until - SPAN
    if since and until and not timedelta(0) <= until - since <= SPAN:
        raise Invalid(N_("start_date and end_date span at most 90 days, in this order."), field="start_date")
    size = _whole(given.get("page_size", ""), MOST, "page_size")
    page = _whole(given.get("page", ""), 1, "page")
    if size > MOST or page * size > _DEEPEST:
        raise Invalid(
            N_("A page has at most {most} requests, and pages end at {deepest}."), most=MOST, deepest=_DEEPEST
        )
    return Wanted((), services, since, until, None if len(states) != 1 else states == {"open"}, page, size)


def _split(text_: str, name: str) -> tuple[str, ...]:
    parts = tuple(dict.fromkeys(part.strip() for part in text_.split(",") if part.strip()))
    if len(parts) > MOST or any(len(part) > 100 for part in parts):
        raise Invalid(N_("{name} names too many or too long values."), field=name, name=name)
    return parts


def _whole(text_: str, default: int, name: str) -> int:
    if not text_:
        return default
    if not re.fullmatch(r"[1-9]\d{0,5}", text_):
        raise Invalid(N_("{name} is a whole number from 1."), field=name, name=name)
    return int(text_)


def _query(here: str) -> Any:
    due = (
        select(Deadline.due_at)
        .where(
            Deadline.district_code == here,
            Deadline.case_id == Case.id,
            Deadline.clock == "reply",
            Deadline.assignment_id.is_(None),
        )
        .order_by(Deadline.started_at.desc(), Deadline.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            Open311Request.service_code,
            Open311Request.description,
            Open311Request.address,
            Open311Request.address_id,
            Open311Request.lng,
            Open311Request.lat,
            Open311Request.media_url,
            Open311Request.contact_sealed,
            Open311Request.received_at,
            Case.number,
            Case.open,
            Case.state,
            Case.answer,
            Case.category_code,
            Case.unit_code,
            func.ST_X(Case.geom).label("case_lng"),
            func.ST_Y(Case.geom).label("case_lat"),
            Entry.recorded_at.label("updated_at"),
            due.label("expected_at"),
        )
        .join(Case, and_(Case.district_code == here, Case.id == Open311Request.case_id))
        .join(
            Entry,
            and_(Entry.district_code == here, Entry.case_id == Case.id, Entry.seq == Case.entries),
            isouter=True,
        )
        .where(Open311Request.district_code == here, Open311Request.case_id.is_not(None))
    )


def read(session: Session, book: Rulebook, wanted: Wanted, *, say: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return the public view of requests, newest first, as the standard names its members. Reads.

    say: puts an English msgid into the reader's language.
    """
    here = actor_of(session).district
    query = _query(here)
    if wanted.numbers:
        query = query.where(Case.number.in_(wanted.numbers))
    if wanted.services:
        # The category that holds now: a corrected one is found under the service it belongs to.
        query = query.where(func.coalesce(Case.category_code, Open311Request.service_code).in_(wanted.services))
    if wanted.since:
        query = query.where(Open311Request.received_at >= wanted.since)
    if wanted.until:
        query = query.where(Open311Request.received_at <= wanted.until)
    if wanted.open is not None:
        query = query.where(Case.open == wanted.open)
    query = query.order_by(Open311Request.received_at.desc(), Open311Request.id.desc())
    rows = session.execute(query.limit(wanted.page_size).offset((wanted.page - 1) * wanted.page_size))
    return [_public(row, book, say) for row in rows]


def read_one(session: Session, book: Rulebook, number: str, *, say: Callable[[str], str]) -> dict[str, Any]:
    """Return the public view of one request; raises NotFound. Reads."""
    found = read(session, book, Wanted(numbers=(number,)), say=say)
    if not found:
        raise NotFound(N_("There is no request with this service_request_id."))
    return found[0]


def _public(row: Any, book: Rulebook, say: Callable[[str], str]) -> dict[str, Any]:
    code = row.category_code or row.service_code
    node = book.categories.get(code)
    shown = book.settings.get("open311_texts", True)
    names = _names(row)
    notes = _unnamed(row.answer, names) if row.answer else say(NOTES[row.state]) if row.state in NOTES else None
    return {
        "service_request_id": row.number,
        "status": "open" if row.open else "closed",
        "status_notes": notes,
        "service_name": node.name if node else None,
        "service_code": code,
        "description": _unnamed(row.description, names) if shown else None,
        "agency_responsible": book.unit_name(row.unit_code) or None,
        "service_notice": None,
        "requested_datetime": times.written(row.received_at),
        "updated_datetime": times.written(row.updated_at or row.received_at),
        "expected_datetime": times.written(row.expected_at),
        "address": _unnamed(row.address, names) if shown else None,
        "address_id": row.address_id or None,
        "zipcode": None,
        # CGCS2000 differs from WGS84 by less than a metre.
        "lat": round(row.case_lat, 6) if row.case_lat is not None else row.lat,
        "long": round(row.case_lng, 6) if row.case_lng is not None else row.lng,
        "media_url": row.media_url or None,
    }


def _names(row: Any) -> tuple[str, ...] | None:
    """Return the sender's names as people write them, the longest first; None where they cannot be read."""
    if not row.contact_sealed:
        return ()
    try:
        contact = orjson.loads(unseal(bytes(row.contact_sealed), context="open311.contact"))
    except Invalid:
        # Sealed with another key: that hides this one's words, and no other request.
        return None
    first, last = contact.get("first_name", "").strip(), contact.get("last_name", "").strip()
    polite = [last + title for title in ("先生", "女士", "小姐", "同志")] if last else []
    found = {last + first, f"{first} {last}", f"{last} {first}", *polite, first, last}
    return tuple(sorted((name for name in found if len(name.strip()) > 1), key=len, reverse=True))


def _unnamed(words: str | None, names: tuple[str, ...] | None) -> str | None:
    """Return words as everybody may read them: without numbers of persons and without the sender's own names."""
    if not words or names is None:
        return None
    shown = mask(words)
    for name in names:
        shown = re.sub(re.escape(name), "*" * len(name), shown, flags=re.IGNORECASE)
    return shown
