"""Requests 请求: what a sender's form means, taken in once, and what everybody may read of it afterwards.

Only what came through Open311 is shown through Open311, without names and numbers of persons and without the house's
own words: who told a neighbour's matter on the telephone did not publish it.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson
from sqlalchemy import and_, func, select, text, update
from sqlalchemy.orm import Session

from core.actor import citizen, system
from core.crypto import seal, unseal
from core.datums import Datum, distance_m, from_db, point
from core.db import actor_of, snapshot, transaction
from core.errors import Invalid, NotFound
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.models import Case, Deadline, Entry
from dispatch.rulebook import Rulebook
from dispatch.words import N_
from grid.models import Address, Place
from hotline.intake import Intake, Report, Understanding
from hotline.masking import mask
from hotline.open311 import times
from hotline.open311.models import Open311Key, Open311Request
from hotline.open311.services import Service, listed

CHANNEL = "open311"
#: The standard's limits.
LONGEST, SPAN, MOST = 4000, timedelta(days=90), 1000
#: The same form from the same key within this time is the same request.
SAME = timedelta(minutes=10)
_MOMENT = timedelta(seconds=2)
#: Pages of lists end here, so that no list is read whole by pages.
_DEEPEST = 10_000
#: A point and an address this far apart, in metres, beside the address's own radius, contradict each other.
_APART_M, _SURE = 1500.0, 0.7
_SHORT = {
    "email": 200, "device_id": 200, "account_id": 200, "first_name": 50, "last_name": 50, "phone": 30,
    "media_url": 1000, "address_string": 500, "address_id": 100, "service_code": 100,
}  # fmt: skip
_PERSONAL = ("email", "device_id", "account_id", "first_name", "last_name", "phone")
_EMAIL = re.compile(r"[^@\s<>]{1,100}@[^@\s<>]{1,100}")
_PHONE = re.compile(r"\+?[0-9][0-9 \-]{5,19}")
_DEGREES = re.compile(r"[+\-]?\d{1,3}(?:\.\d{1,20})?")
_ATTRIBUTE = re.compile(r"attribute\[([^\[\]]{1,60})\](\[\])?")
_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd\ud800-\udfff\ufffe\uffff]")
#: What the sender is told of states by which a matter ends without an answer; English msgids.
NOTES: Mapping[str, str] = {
    "refused": N_("Not accepted: the matter is out of scope here."),
    "handed_over": N_("Handed over to the emergency services."),
    "withdrawn": N_("Taken back by the reporter."),
}


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that was found sound."""

    service_code: str
    description: str = ""
    address: str = ""
    address_id: str = ""
    #: WGS84 degrees.
    lng: float | None = None
    lat: float | None = None
    media_url: str = ""
    #: Code of an attribute → the answers.
    answers: Mapping[str, list[str]] = field(default_factory=dict)
    #: Members of `_PERSONAL` that were given.
    contact: Mapping[str, str] = field(default_factory=dict)


def read_form(form: Sequence[tuple[str, str]], offered: Mapping[str, Service], *, media_hosts: Sequence[str]) -> Sent:
    """Return what a form says; raises Invalid, and NotFound for a service that is not offered.

    form: names and values in order. media_hosts: hosts that pictures may lie on.
    """
    given: dict[str, str] = {}
    answers: dict[str, list[str]] = {}
    for name, raw in form:
        value = raw.strip()
        if _UNCLEAN.search(name) or _UNCLEAN.search(value):
            raise Invalid(N_("The text contains characters that cannot be read."), field=name[:40])
        if not value:
            continue
        if name.startswith("attribute["):
            found = _ATTRIBUTE.fullmatch(name)
            if found is None:
                raise Invalid(N_("An answer is sent as attribute[CODE]."), field=name[:40])
            answers.setdefault(found[1], []).append(value)
        elif given.setdefault(name, value) != value:
            raise Invalid(N_("{name} is given twice."), field=name[:40], name=name[:40])
    for name, longest in _SHORT.items():
        if len(given.get(name, "")) > longest:
            raise Invalid(N_("{name} is longer than {limit} characters."), field=name, name=name, limit=longest)
    code = given.get("service_code", "")
    if not code:
        raise Invalid(N_("service_code was not provided."), field="service_code")
    if code not in offered:
        raise NotFound(N_("There is no service with this service_code."), field="service_code")
    for name in ("description", "address_string"):
        if name in given and not any(letter.isalnum() for letter in given[name]):
            raise Invalid(N_("{name} holds no words."), field=name, name=name)
    description = given.get("description", "")
    if len(description) > LONGEST:
        raise Invalid(
            N_("{name} is longer than {limit} characters."), field="description", name="description", limit=LONGEST
        )
    offered[code].check(answers)
    lng, lat = _spot(given)
    sent = Sent(
        service_code=code,
        description=description,
        address=given.get("address_string", ""),
        address_id=given.get("address_id", ""),
        lng=lng,
        lat=lat,
        media_url=_media(given.get("media_url", ""), media_hosts),
        answers=answers,
        contact=_contact(given),
    )
    if lng is None and not sent.address and not sent.address_id:
        raise Invalid(N_("A place is needed: lat and long, address_string or address_id."), field="address_string")
    return sent


def _spot(given: Mapping[str, str]) -> tuple[float | None, float | None]:
    lat, lng = given.get("lat", ""), given.get("long", "")
    if not lat and not lng:
        return None, None
    if not (_DEGREES.fullmatch(lat) and _DEGREES.fullmatch(lng)):
        raise Invalid(N_("lat and long are given together, as decimal degrees in WGS84."), field="lat")
    # Swapped and foreign coordinates are refused there.
    point(float(lng), float(lat), Datum.WGS84, field="lat")
    return float(lng), float(lat)


def _media(address: str, hosts: Sequence[str]) -> str:
    """Return the address of a picture on an allowed host; it is never fetched."""
    if not address:
        return ""
    try:
        parts = urlsplit(address)
        host, user = parts.netloc.lower(), parts.username
    except ValueError:
        host, user, parts = "", None, None
    if parts is None or parts.scheme != "https" or user is not None or host not in hosts or " " in address:
        raise Invalid(N_("Pictures are taken from agreed https addresses only."), field="media_url")
    return address


def _contact(given: Mapping[str, str]) -> dict[str, str]:
    contact = {name: given[name] for name in _PERSONAL if name in given}
    if "phone" in contact:
        contact["phone"] = re.sub(r"[().]", " ", contact["phone"]).strip()
        if not _PHONE.fullmatch(contact["phone"]):
            raise Invalid(N_("This is not a telephone number."), field="phone")
    if "email" in contact and not _EMAIL.fullmatch(contact["email"]):
        raise Invalid(N_("This is not an e-mail address."), field="email")
    return contact


def fingerprint(form: Sequence[tuple[str, str]]) -> bytes:
    """Return SHA-256 of everything that was sent but the key, whatever the order of fields."""
    told = sorted((name, value.strip()) for name, value in form if name != "api_key")
    return hashlib.sha256(orjson.dumps(told)).digest()


def own_id(given: str) -> bytes:
    """Return SHA-256 of the sender's own id of a request; raises Invalid for one that is no id."""
    if not re.fullmatch(r"[\x21-\x7e]{8,100}", given):
        raise Invalid(N_("An Idempotency-Key has 8 to 100 letters, digits or signs."), field="Idempotency-Key")
    return hashlib.sha256(b"own\x00" + given.encode()).digest()


_SEEN = text(
    "INSERT INTO open311_seen AS s (district_code, key_id, digest, request_id, at) "
    "VALUES (:d, :key, :digest, :id, :at) ON CONFLICT (district_code, key_id, digest) DO UPDATE SET "
    "request_id = CASE WHEN s.at < :since THEN EXCLUDED.request_id ELSE s.request_id END, "
    "at = CASE WHEN s.at < :since THEN EXCLUDED.at ELSE s.at END RETURNING request_id"
)
#: Ids of the sender's own are remembered without end.
_EVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def accept(key: Open311Key, sent: Sent, digest: bytes, *, own: bool, at: datetime) -> uuid.UUID:
    """Write a request down and return its id; the same again is the one that is there. In a transaction of its own.

    own: `digest` is of the sender's own id, which holds for ever; otherwise of the form, which holds for `SAME`.
    """
    here = key.district_code
    with transaction(system(here, CHANNEL)) as session:
        since = _EVER if own else at - SAME
        mine = new_id()
        found: uuid.UUID = session.scalar(
            _SEEN, {"d": here, "key": key.id, "digest": digest, "id": mine, "at": at, "since": since}
        )
        if found == mine:
            session.add(
                Open311Request(
                    district_code=here,
                    id=mine,
                    key_id=key.id,
                    received_at=at,
                    service_code=sent.service_code,
                    description=sent.description,
                    address=sent.address,
                    address_id=sent.address_id,
                    lng=sent.lng,
                    lat=sent.lat,
                    media_url=sent.media_url,
                    answers=dict(sent.answers),
                    contact_sealed=seal(orjson.dumps(sent.contact).decode(), context="open311.contact")
                    if sent.contact
                    else None,
                )
            )
    return found


def report_of(session: Session, sent: Sent, service: Service, *, at: datetime) -> Report:
    """Return the report that a request is for intake; raises NotFound for an unknown address_id. Reads."""
    said = [sent.description or service.name]
    spot: dict[str, Any] = {}
    if sent.address_id:
        here = actor_of(session).district
        named = _by_key(session, here, sent.address_id)
        said.append(f"地点：{named[0]}")
        spot = {"lng": named[1], "lat": named[2], "datum": Datum.CGCS2000.value}
    if sent.address and sent.address not in sent.description:
        said.append(f"地点：{sent.address}")
    if sent.lng is not None:
        spot = {"lng": sent.lng, "lat": sent.lat, "datum": Datum.WGS84.value}
    said += service.read_out(sent.answers)
    if sent.media_url:
        said.append(f"图片：{sent.media_url}")
    names = [sent.contact[name] for name in ("last_name", "first_name") if name in sent.contact]
    chinese = all("一" <= name[0] <= "鿿" for name in names)
    return Report(
        channel=CHANNEL,
        text="\n".join(said),
        reported_at=at,
        name=("" if chinese else " ").join(names if chinese else reversed(names)) or None,
        phone=sent.contact.get("phone"),
        category=sent.service_code,
        **spot,
    )


def _by_key(session: Session, here: str, key: str) -> tuple[str, float, float]:
    """Return name and point of an address or a place by its key."""
    address = session.execute(
        select(Address.road, Address.house_no, Address.geom).where(Address.district_code == here, Address.key == key)
    ).first()
    if address:
        spot = from_db(address.geom)
        return f"{address.road}{address.house_no}号", spot.x, spot.y
    place = session.execute(select(Place.name, Place.geom).where(Place.district_code == here, Place.key == key)).first()
    if place is None:
        raise Invalid(N_("There is no address with this address_id."), field="address_id")
    spot = from_db(place.geom)
    return place.name, spot.x, spot.y


def understand(intake: Intake, report: Report, sent: Sent) -> Understanding:
    """Return what intake makes of a report, asking no database.

    Raises Invalid for what it cannot take, a point outside the district, or an address clearly elsewhere.
    """
    understood = intake.understand(report)
    if report.lng is None:
        return understood
    if understood.place is None or understood.place.by != "reporter":
        raise Invalid(N_("The point lies outside the district."), field="lat")
    if not sent.address:
        return understood
    answer = intake.places.locate(sent.address)
    best = answer.matches[0] if answer.status == "located" and answer.matches else None
    if best is None or best.confidence < _SURE:
        return understood
    (away,) = distance_m([[best.lng, best.lat]], [[understood.place.lng, understood.place.lat]])
    if away > _APART_M + best.radius_m:
        raise Invalid(N_("address_string and the point given with it lie far apart; send one of them."), field="lat")
    return understood


def take_in(
    intake: Intake,
    offered: Mapping[str, Service],
    request_id: uuid.UUID,
    *,
    at: datetime,
    understood: Understanding | None = None,
) -> str:
    """Make a written request a case, once, and return the case's number; a request that is one already answers it.

    Clocks start when the request came, not when its turn was. Raises NotFound; Unavailable leaves it waiting.
    """
    here = intake.book.district
    program = system(here, CHANNEL)
    with snapshot(program) as session:
        row = session.execute(
            select(Open311Request, Open311Key.label, Case.number)
            .join(Open311Key, and_(Open311Key.district_code == here, Open311Key.id == Open311Request.key_id))
            .join(Case, and_(Case.district_code == here, Case.id == Open311Request.case_id), isouter=True)
            .where(Open311Request.district_code == here, Open311Request.id == request_id)
        ).first()
        if row is None:
            raise NotFound(N_("There is no such request."))
        kept, label, number = row
        if number:
            return str(number)
        sent = _again(kept)
        service = offered.get(kept.service_code) or Service(kept.service_code, "", "", "")
        report = report_of(session, sent, service, at=kept.received_at)
    report = replace(report, idempotency_key=f"open311:{request_id}")
    # Yesterday's log may be sealed already.
    began = kept.received_at if china_time(kept.received_at).date() == china_time(at).date() else at
    actor = replace(citizen(here), name=f"Open311 {label}")
    receipt = intake.receive(report, actor=actor, at=began, understood=understood)
    with transaction(program) as session:
        session.execute(
            update(Open311Request)
            .where(Open311Request.district_code == here, Open311Request.id == request_id)
            .values(case_id=receipt.case_id)
        )
    return receipt.number


def _again(kept: Open311Request) -> Sent:
    contact = orjson.loads(unseal(kept.contact_sealed, context="open311.contact")) if kept.contact_sealed else {}
    return Sent(
        kept.service_code,
        kept.description,
        kept.address,
        kept.address_id,
        kept.lng,
        kept.lat,
        kept.media_url,
        kept.answers,
        contact,
    )


def waiting(session: Session, *, before: datetime, limit: int = 200) -> list[uuid.UUID]:
    """Return requests that came before a moment and are no case yet, oldest first. Reads."""
    return list(
        session.scalars(
            select(Open311Request.id)
            .where(
                Open311Request.district_code == actor_of(session).district,
                Open311Request.case_id.is_(None),
                Open311Request.failure.is_(None),
                Open311Request.received_at <= before,
            )
            .order_by(Open311Request.id)
            .limit(limit)
        )
    )


def take_waiting(district: str, intake: Callable[[], Intake], *, at: datetime) -> int:
    """Take in what was answered with a token, and return how many; safe to run in two places.

    intake: built only where something waits. Raises Unavailable with what is left still waiting.
    """
    program = system(district, CHANNEL)
    with snapshot(program) as session:
        # What is being taken in by its own call is left alone for a moment.
        left = waiting(session, before=at - _MOMENT)
    if not left:
        return 0
    made = intake()
    with snapshot(program) as session:
        offered = listed(session, made.book)
    taken = 0
    for request_id in left:
        try:
            take_in(made, offered, request_id, at=at)
        except (Invalid, NotFound) as error:
            # It was sound when it came; what it named is gone meanwhile. It stays written down, with the reason.
            with transaction(program) as session:
                which = (Open311Request.district_code == district, Open311Request.id == request_id)
                session.execute(update(Open311Request).where(*which).values(failure=str(error)[:300]))
        else:
            taken += 1
    return taken


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
    notes = mask(row.answer) if row.answer else say(NOTES[row.state]) if row.state in NOTES else None
    return {
        "service_request_id": row.number,
        "status": "open" if row.open else "closed",
        "status_notes": notes,
        "service_name": node.name if node else None,
        "service_code": code,
        "description": _without_names(row) if shown else None,
        "agency_responsible": book.unit_name(row.unit_code) or None,
        "service_notice": None,
        "requested_datetime": times.written(row.received_at),
        "updated_datetime": times.written(row.updated_at or row.received_at),
        "expected_datetime": times.written(row.expected_at),
        "address": mask(row.address) if shown and row.address else None,
        "address_id": row.address_id or None,
        "zipcode": None,
        # CGCS2000 differs from WGS84 by less than a metre.
        "lat": round(row.case_lat, 6) if row.case_lat is not None else row.lat,
        "long": round(row.case_lng, 6) if row.case_lng is not None else row.lng,
        "media_url": row.media_url or None,
    }


def _without_names(row: Any) -> str | None:
    """Return the sender's words without numbers of persons and without the names that the sender gave."""
    if not row.description:
        return None
    text_ = mask(row.description)
    if row.contact_sealed:
        contact = orjson.loads(unseal(bytes(row.contact_sealed), context="open311.contact"))
        first, last = contact.get("first_name", ""), contact.get("last_name", "")
        for name in (last + first, f"{first} {last}", first, last):
            if len(name.strip()) > 1:
                text_ = text_.replace(name.strip(), "*" * len(name.strip()))
    return text_
