"""Matters of units that work in another Open311 server 转送: sent there once, looked at until closed, answered here.

Works by polling its own table, so that no message has to arrive: whatever is lost on the way is found at the next look.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.crypto import seal, unseal
from core.datums import Datum, from_cgcs2000
from core.db import actor_of, snapshot, transaction
from core.errors import Conflict, Invalid
from core.ids import is_checked, new_id
from dispatch import cases, sheet
from dispatch.rulebook import Rulebook
from dispatch.words import N_
from hotline.masking import mask
from hotline.open311.client import Client, Open311Adapter, Remote, Seen, checked_endpoint
from hotline.open311.models import Open311Forward, Open311Remote
from hotline.outward.adapters import Later, Outgoing, Refused

#: How often an open request is looked at. *Default*.
POLL = timedelta(minutes=10)
#: The first look after sending.
_SOON = timedelta(minutes=1)
#: How long one step may take before another worker takes it over.
LEASE = timedelta(minutes=2)
_BACKOFF, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=2)
#: Shares older than this were not forwarded when they came, and are not any more.
_RECENT = timedelta(days=7)
_CODE = re.compile(r"[0-9A-Za-z_.\-]{1,100}")
_MARK = re.compile(r"\[([0-9A-Z]{10,24})\]")
_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffd\ud800-\udfff\ufffe\uffff]")
#: States in which a share waits for somebody else here; nothing is answered meanwhile.
_AT_REST = ("paused", "parked", "disputed", "merged")
_MINE = ("dispatched", "signed")

_NEW = text(
    "SELECT a.id, a.case_id, a.unit_code FROM assignment AS a "
    "JOIN open311_remote AS r ON r.district_code = :d AND r.unit_code = a.unit_code AND r.active "
    "WHERE a.district_code = :d AND a.share = 'lead' AND a.state IN ('sent', 'signed') AND a.created_at > :since "
    "AND NOT EXISTS (SELECT 1 FROM open311_forward AS f WHERE f.district_code = :d AND f.assignment_id = a.id) "
    "ORDER BY a.id LIMIT 200"
)
_ANY = text(
    "SELECT EXISTS (SELECT 1 FROM open311_forward AS f WHERE f.district_code = :d"
    " AND f.state IN ('waiting', 'sent') AND f.next_at <= :at)"
)
_LEASED = text(
    "UPDATE open311_forward SET next_at = :until, tries = tries + 1 WHERE district_code = :d AND id = ("
    " SELECT f.id FROM open311_forward AS f WHERE f.district_code = :d AND f.state IN ('waiting', 'sent')"
    " AND f.next_at <= :at ORDER BY f.next_at, f.id LIMIT 1 FOR UPDATE SKIP LOCKED)"
    " RETURNING id, case_id, unit_code, state, token, remote_id, tries, created_at, failure"
)


def keep_remote(
    session: Session,
    book: Rulebook,
    unit: str,
    endpoint: str,
    *,
    key: str,
    services: Mapping[str, str],
    jurisdiction: str = "",
    active: bool = True,
) -> None:
    """Say that a unit works in another server. Writes; caller commits; raises Invalid.

    services: prefix of our category code → their service_code; the empty prefix is for all others.
    """
    book.checked_unit(unit)
    if not services or not all(_CODE.fullmatch(code) for code in services.values()):
        raise Invalid(N_("A table of services names our category codes and their service codes."), field="services")
    for prefix in services:
        if prefix and not any(code.startswith(prefix) for code in book.categories):
            raise Invalid("There is no category {code}.", field="services", code=prefix)
    if not key.strip():
        raise Invalid(N_("There is no key of theirs."), field="key")
    values = {
        "endpoint": checked_endpoint(endpoint),
        "jurisdiction": jurisdiction.strip(),
        "key_sealed": seal(key.strip(), context="open311.remote"),
        "services": dict(services),
        "active": active,
    }
    made = insert(Open311Remote).values(district_code=book.district, unit_code=unit, **values)
    session.execute(made.on_conflict_do_update(index_elements=["district_code", "unit_code"], set_=values))


def collect(session: Session, *, at: datetime) -> int:
    """Put down new shares of units that work elsewhere; returns how many. Writes; safe to run in two places."""
    here = actor_of(session).district
    rows = session.execute(_NEW, {"d": here, "since": at - _RECENT}).all()
    for row in rows:
        session.execute(
            insert(Open311Forward)
            .values(
                district_code=here,
                id=new_id(),
                case_id=row.case_id,
                assignment_id=row.id,
                unit_code=row.unit_code,
                state="waiting",
                created_at=at,
                next_at=at,
            )
            .on_conflict_do_nothing()
        )
    return len(rows)


def run(
    book: Callable[[], Rulebook],
    district: str,
    *,
    clock: Callable[[], datetime],
    connect: Callable[[Remote], Client],
    going: Callable[[], bool],
) -> int:
    """Collect what is new and do the steps that are due, while `going`; return how many steps.

    book, connect: asked only where there is something to do. Safe to run in two places.
    """
    with transaction(system(district, "open311")) as session:
        collect(session, at=clock())
        due = session.execute(_ANY, {"d": district, "at": clock()}).scalar()
    steps = 0
    while due and going() and step(book(), at=clock(), connect=connect) is not None:
        steps += 1
    return steps


@dataclass(frozen=True, slots=True)
class There:
    """How a matter stands in the other server, as of the last look; kept as one text: status, moment, their words."""

    #: open, closed, or token where they have no number yet; empty where nobody looked.
    status: str = ""
    #: Aware; None where nobody looked.
    at: datetime | None = None
    notes: str = ""

    def kept(self) -> str:
        """Return what stands in the table, at most 500 characters."""
        if not self.status:
            return ""
        return f"{self.status} {self.at.isoformat() if self.at else '-'} {self.notes}".strip()[:500]

    @classmethod
    def of(cls, kept: str) -> "There":
        """Return what a text of the table says."""
        status, _, rest = kept.partition(" ")
        moment, _, notes = rest.partition(" ")
        try:
            return cls(status, datetime.fromisoformat(moment), notes)
        except ValueError:
            return cls(status, None, rest.removeprefix("-").strip())


@dataclass(frozen=True, slots=True)
class _Leased:
    id: uuid.UUID
    case_id: uuid.UUID
    unit_code: str
    state: str
    token: str
    remote_id: str
    tries: int
    created_at: datetime
    failure: str | None


def step(book: Rulebook, *, at: datetime, connect: Callable[[Remote], Client], every: timedelta = POLL) -> str | None:
    """Do one step of one forward that is due, and return the state it came to; None where none is due.

    No transaction is open while the other side is asked. connect: makes the client of a server.
    """
    program = system(book.district, "open311")
    with transaction(program) as session:
        row = session.execute(_LEASED, {"d": book.district, "at": at, "until": at + LEASE}).first()
        if row is None:
            return None
        leased = _Leased(*row)
        remote = session.get(Open311Remote, (book.district, leased.unit_code))
        matter = sheet.facts(session, leased.case_id)
    if remote is None or not remote.active or matter.unit_code != leased.unit_code or matter.process != "complaint":
        return _write(book, leased, state="void")
    if matter.state not in (*_MINE, *_AT_REST):
        # A reply that was entered and not noted down here, or entered by a person.
        return _write(book, leased, state="answered" if matter.state == "replied" else "void")
    client = connect(Remote(remote.endpoint, unseal(remote.key_sealed, context="open311.remote"), remote.jurisdiction))
    try:
        if leased.state == "waiting":
            return _send(book, leased, matter, remote.services, client, at=at)
        return _look(book, leased, matter, client, at=at, every=every)
    except Refused as error:
        return _write(book, leased, state="refused", failure=error.reason)
    except Later as error:
        wait = error.after or min(_BACKOFF * 2 ** min(leased.tries, 10), _LONGEST_WAIT)
        return _write(book, leased, state=leased.state, failure=error.reason, next_at=at + wait)


def _write(book: Rulebook, leased: _Leased, **values: Any) -> str:
    values["failure"] = (values.get("failure") or "")[:300] or None
    with transaction(system(book.district, "open311")) as session:
        session.execute(
            update(Open311Forward)
            .where(Open311Forward.district_code == book.district, Open311Forward.id == leased.id)
            .values(**values)
        )
    return str(values["state"])


def _send(
    book: Rulebook, leased: _Leased, matter: sheet.Facts, services: Mapping[str, str], client: Client, *, at: datetime
) -> str:
    code = matter.category_code or ""
    prefix = max((one for one in services if code.startswith(one)), key=len, default=None)
    if prefix is None:
        raise Refused("no service of theirs is for this category")
    if any(is_checked(found) for found in _MARK.findall(matter.text)):
        # Two servers that name each other would send a matter to and fro without end.
        raise Refused("it was forwarded to us")
    mark = f"[{matter.number}]"
    extra: dict[str, Any] = {"service_code": services[prefix]}
    if matter.lng is not None and matter.lat is not None:
        ((lng, lat),) = from_cgcs2000([[matter.lng, matter.lat]], Datum.WGS84)
        extra |= {"lat": f"{lat:.6f}", "long": f"{lng:.6f}"}
    elif matter.place_name:
        extra["address_string"] = mask(matter.place_name)
    else:
        raise Refused("the place is not known")
    if leased.tries > 1:
        # A clock of theirs may be behind ours.
        extra["tried"] = leased.created_at - timedelta(hours=1)
    words = mask(matter.text)[: 3900 - len(mark)]
    message = Outgoing(leased.id, mark, matter.title, f"{words}\n{mark}", extra)
    receipt = Open311Adapter(client).send(message).receipt
    token = receipt.removeprefix("token:") if receipt.startswith("token:") else ""
    _act(book, leased, matter, "sign", {}, at=at)
    return _write(
        book,
        leased,
        state="sent",
        token=token,
        remote_id="" if token else receipt,
        tries=0,
        next_at=at + timedelta(minutes=1),
    )


def _look(
    book: Rulebook, leased: _Leased, matter: sheet.Facts, client: Client, *, at: datetime, every: timedelta
) -> str:
    number = leased.remote_id or client.number_of(leased.token)
    if not number:
        told = {"remote_status": There("token", at).kept()}
        return _write(book, leased, state="sent", tries=0, next_at=at + every, **told)
    try:
        seen = client.look(number)
    except Refused as error:
        # They had it once: somebody there has to be asked, and a person here sees the reason.
        raise Later(error.reason, _LONGEST_WAIT) from error
    there = There("closed" if seen.closed else "open", at, _UNCLEAN.sub("", seen.notes).strip())
    told = {"remote_id": number, "remote_status": there.kept()}
    if not seen.closed or matter.state in _AT_REST:
        return _write(book, leased, state="sent", tries=0, next_at=at + every, **told)
    _act(book, leased, matter, "sign", {}, at=at)
    process = book.process(matter.process, matter.process_version)
    asked = process.fields(process.step_for("reply", "signed"), matter.kind)
    # What nobody here has seen is not claimed: whether it was true is not known, and the citizen was not called.
    said = {"truth": "unknown", "duty": "yes", "contacted": "no", "solved": "yes"}
    fields = {"answer": _answer(book, leased, seen, number)} | {k: v for k, v in said.items() if k in asked}
    _act(book, leased, matter, "reply", fields, at=at)
    return _write(book, leased, state="answered", **told)


def _answer(book: Rulebook, leased: _Leased, seen: Seen, number: str) -> str:
    notes = _UNCLEAN.sub("", seen.notes).strip()
    said = notes or "对方系统已办结，未另附说明。"
    return f"{said}（{book.unit_name(leased.unit_code)}，外部编号 {number}）"


def _act(
    book: Rulebook, leased: _Leased, matter: sheet.Facts, action: str, fields: Mapping[str, Any], *, at: datetime
) -> None:
    """Take a step in the unit's name as the program; one that was taken already is left alone."""
    actor = Actor(id=None, name="Open311", role=Role.UNIT, district=book.district, unit=leased.unit_code)
    with snapshot(system(book.district, "open311")) as session:
        now = sheet.facts(session, matter.id)
    if (action == "sign" and now.state != "dispatched") or (action == "reply" and now.state != "signed"):
        return
    try:
        with transaction(actor) as session:
            cases.act(session, book, matter.id, action, expected_version=now.version, at=at, fields=fields)
    except Conflict as error:
        raise Later("somebody else is at the case") from error
