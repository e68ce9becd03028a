"""Requests 请求: what a sender's form means, written down once and taken in once. `public` has what is read."""

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson
from sqlalchemy import and_, select, text, update
from sqlalchemy.orm import Session

from core.actor import citizen, system
from core.crypto import seal, unseal
from core.datums import Datum, distance_m, from_db, point
from core.db import actor_of, snapshot, transaction
from core.errors import Invalid, NotFound
from core.ids import new_id
from dispatch.calendar import china_time
from dispatch.models import Case
from dispatch.words import N_
from grid.models import Address, Place
from hotline.intake import Intake, Report, Understanding
from hotline.open311.models import Open311Key, Open311Request
from hotline.open311.services import Service, listed

CHANNEL = "open311"
#: The standard's limit of a description.
LONGEST = 4000
#: The same form from the same key within this time is the same request.
SAME = timedelta(minutes=10)
#: Ids of the sender's own are remembered so long; *default*, `open311_seen_days` of the district's settings.
REMEMBERED = timedelta(days=180)
_MOMENT = timedelta(seconds=2)
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
#: Ids of the sender's own are remembered as long as they are kept, see `prune`.
_EVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def accept(key: Open311Key, sent: Sent, digest: bytes, *, own: bool, at: datetime) -> uuid.UUID:
    """Write a request down and return its id; the same again is the one that is there. In a transaction of its own.

    own: `digest` is of the sender's own id, which holds until it is pruned; otherwise of the form, for `SAME`.
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


def remembered(settings: Mapping[str, Any]) -> timedelta:
    """Return how long a sender's own ids are remembered in a district, at least a day.

    What cannot be read means the default: a slip in the settings stops no nightly work.
    """
    days = settings.get("open311_seen_days")
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= 36_500:
        return REMEMBERED
    return timedelta(days=days)


def prune(district: str, *, before: datetime, limit: int = 5000) -> int:
    """Forget what keys sent before a moment, a batch at a time, and return how many; the requests themselves stay.

    Safe to run in two places, and while requests come in: what is held at this moment is left to the next run.
    """
    old = text(
        "DELETE FROM open311_seen WHERE district_code = :d AND (key_id, digest) IN (SELECT s.key_id, s.digest "
        "FROM open311_seen AS s WHERE s.district_code = :d AND s.at < :before ORDER BY s.at LIMIT :n "
        "FOR UPDATE SKIP LOCKED)"
    )
    with transaction(system(district, CHANNEL)) as session:
        done = session.execute(old, {"d": district, "before": before, "n": limit})
    return int(done.rowcount)  # type: ignore[attr-defined]  # a DELETE answers with a cursor result
