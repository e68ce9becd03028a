"""From a message of the outbox to deliveries 分发: who is to be told, by which way, in which words. Sends nothing.

Stands where the outbox wants a Notifier: it first hands the messages on to the live feed, then writes one row of
`delivery` for each message, address and channel, in one transaction. The same message again writes nothing new.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from core.actor import system
from core.crypto import seal, unseal
from core.db import actor_of, transaction
from core.errors import Invalid, Unavailable, WanggeError
from core.ids import new_id
from dispatch.appointments import Appointment, ServiceWindow
from dispatch.calendar import china_time
from dispatch.models import Case, Report
from dispatch.numbers import access_code
from dispatch.outbox import Message, Notifier
from dispatch.rulebook import Rulebook
from hotline.outward import templates, together
from hotline.outward.adapters import checked_address, mobile, recipient, shown
from hotline.outward.models import Contact, Delivery
from hotline.outward.quiet import Quiet
from hotline.outward.templates import Templates

#: People of one case, and contacts of one unit, that a message goes to at most.
_MOST = 500
#: Channels of reports whose reporter asks for the state, or is ourselves.
_ASKS_ITSELF = frozenset({"open311", "patrol", "replay", "import"})
#: A message that was written longer ago than this is news to nobody; a worker that was down for days floods nobody.
STALE = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class _To:
    channel: str
    #: Checked.
    address: str
    #: A resident, who is not disturbed at night.
    person: bool
    #: Words that only this receiver gets.
    own: Mapping[str, str]


class Router:
    """A Notifier that writes deliveries."""

    def __init__(
        self,
        feed: Notifier,
        *,
        books: Callable[[str], Rulebook],
        channels: Callable[[], frozenset[str]],
        clock: Callable[[], datetime],
        address: str = "",
        bind: Engine | None = None,
    ) -> None:
        """Put the parts together.

        feed: gets every message first. channels: those that have an adapter; nothing is written for others.
        clock: the program's own, for the quiet hours. address: of the public pages, as messages name it.
        """
        self._feed = feed
        self._books = books
        self._channels = channels
        self._clock = clock
        self._address = address
        self._bind = bind

    def deliver(self, messages: Sequence[Message]) -> Mapping[uuid.UUID, str]:
        """Hand the messages on and write their deliveries; return the failures by message id.

        Raises Unavailable where the feed or the database does not answer.
        """
        failures = dict(self._feed.deliver(messages))
        wanted = [m for m in messages if m.id not in failures and m.topic in templates.shipped().audiences]
        channels = self._channels()
        if not wanted or not channels:
            return failures
        by_district: dict[str, list[Message]] = {}
        for message in wanted:
            by_district.setdefault(message.district, []).append(message)
        for district, some in by_district.items():
            with transaction(system(district, "outward"), bind=self._bind) as session:
                book, lines = self._books(district), templates.read(session)
                routing = _Routing(session, book, lines, channels, at=self._clock(), address=self._address)
                for message in some:
                    try:
                        with session.begin_nested():
                            routing.write(message)
                    except Unavailable:
                        raise
                    except (WanggeError, ValueError, TypeError, LookupError, AttributeError, DataError) as error:
                        # One message that cannot be read stops no other one.
                        failures[message.id] = f"{type(error).__name__}: {error}"[:300]
        return failures


class _Routing:
    """Writes the deliveries of some messages of one district in one transaction."""

    def __init__(
        self,
        session: Session,
        book: Rulebook,
        lines: Templates,
        channels: frozenset[str],
        *,
        at: datetime,
        address: str,
    ) -> None:
        self._session = session
        self._book = book
        self._lines = lines
        self._channels = channels
        self._at = at
        self._address = address
        self._quiet = Quiet.of(book.settings)
        self._window = together.window(book.settings)

    def write(self, message: Message) -> int:
        """Write the deliveries of one message; return how many are new."""
        if self._at - message.created_at > STALE:
            return 0
        case = self._case(message)
        values = self._values(message, case)
        category = (case.category_code or "") if case else ""
        state = str(message.payload.get("state") or "")
        urgent = (case.urgency if case else message.payload.get("urgency")) == "emergency"
        rows = []
        for to in self._receivers(message, case):
            if to.channel == "callback" and message.payload.get("heard"):
                continue
            line = self._lines.find(message.topic, to.channel, category=category, state=state)
            if line is None or to.channel not in self._channels:
                continue
            said = templates.render(line, values | dict(to.own))
            held = to.person and to.channel == "sms" and not urgent and self._quiet.covers(self._at)
            index = recipient(to.channel, to.address)
            next_at = self._quiet.end(self._at) if held else self._at
            if to.channel == "sms" and message.case_id is not None and not urgent:
                within = self._window
                next_at = together.not_before(self._session, message.case_id, index, at=next_at, within=within)
            rows.append(
                {
                    "district_code": self._book.district,
                    "id": new_id(),
                    "message_id": message.id,
                    "topic": message.topic,
                    "case_id": message.case_id,
                    "number": values["number"][:40],
                    "channel": to.channel,
                    "recipient": index,
                    "address_sealed": seal(to.address, context="delivery.address"),
                    "shown": shown(to.channel, to.address),
                    "subject": said.subject,
                    "text_sealed": seal(said.text, context="delivery.text"),
                    "urgent": urgent,
                    "quiet": to.person and to.channel == "sms",
                    "state": "held" if held else "waiting",
                    "created_at": self._at,
                    "next_at": next_at,
                }
            )
        if not rows:
            return 0
        done = self._session.execute(insert(Delivery).values(rows).on_conflict_do_nothing().returning(Delivery.id))
        return len(done.all())

    def _case(self, message: Message) -> Case | None:
        if message.case_id is None:
            return None
        return self._session.get(Case, (self._book.district, message.case_id))

    def _values(self, message: Message, case: Case | None) -> dict[str, str]:
        told = message.payload
        unit = str(told.get("share") or told.get("unit") or (case.unit_code if case else "") or "")
        due = str(told.get("due_at") or "")
        window = str(told.get("window") or "")
        return {
            "number": str(told.get("number") or (case.number if case else "")),
            "address": self._address,
            "district": self._book.name,
            "unit": self._book.unit_name(unit) or "区网格中心",
            "category": " / ".join(self._book.category_path(case.category_code)) if case else "",
            "answer": (case.answer or "") if case else "",
            "reason": str(told.get("reason") or ""),
            "due": _told_time(datetime.fromisoformat(due)) if due else "",
            "clock": str(told.get("clock") or ""),
            "window": self._window_name(window) if window else "",
        }

    def _window_name(self, code: str) -> str:
        found = self._session.get(ServiceWindow, (self._book.district, code))
        return found.name if found else code

    def _receivers(self, message: Message, case: Case | None) -> Iterable[_To]:
        audience = self._lines.audiences[message.topic]
        if audience == "person":
            return self._reporters(case) if case else ()
        if audience == "booked":
            return self._booked(message)
        if audience == "unit":
            unit = message.payload.get("share") or message.payload.get("unit") or (case.unit_code if case else None)
            return self._contacts("unit", str(unit)) if unit else self._contacts("desk")
        if audience == "rung":
            told = message.payload.get("rung")
            unit = message.payload.get("unit")
            if told == "supervision":
                return self._contacts("supervision")
            return self._contacts("unit", str(unit)) if told == "unit_head" and unit else self._contacts("desk")
        return self._contacts("desk")

    def _reporters(self, case: Case) -> Iterable[_To]:
        rows = self._session.execute(
            select(Report.channel, Report.source_id, Report.phone_sealed)
            .where(Report.district_code == self._book.district, Report.case_id == case.id)
            .order_by(Report.received_at, Report.id)
            .limit(_MOST)
        )
        found: dict[tuple[str, str], _To] = {}
        for channel, source, sealed in rows:
            to = self._reporter(case, channel, source or "", sealed)
            if to is not None:
                found.setdefault((to.channel, to.address), to)
        return found.values()

    def _reporter(self, case: Case, channel: str, source: str, sealed: bytes | None) -> _To | None:
        if channel in _ASKS_ITSELF:
            return None
        if channel == "weibo" and source:
            return _checked("weibo", source, person=False, own={})
        if sealed is None:
            return None
        return self._by_phone(unseal(bytes(sealed), context="report.phone"), own={"code": access_code(case.number)})

    def _by_phone(self, phone: str, *, own: Mapping[str, str]) -> _To | None:
        return _checked("sms" if mobile(phone) else "callback", phone, person=True, own=own)

    def _booked(self, message: Message) -> Iterable[_To]:
        """Return who holds the appointment: the message names the number alone."""
        row = self._session.scalars(
            select(Appointment).where(
                Appointment.district_code == self._book.district,
                Appointment.number == str(message.payload.get("number") or ""),
            )
        ).one_or_none()
        if row is None:
            return ()
        moved = str(message.payload.get("moved_to") or "")
        own = {"starts": _told_time(row.starts_at), "moved": "已取消，请重新预约。"}
        if moved:
            to = self._session.scalar(
                select(Appointment.starts_at).where(
                    Appointment.district_code == self._book.district, Appointment.number == moved
                )
            )
            own["moved"] = f"已改到{_told_time(to)}，新编号{moved}。" if to else ""
        found = self._by_phone(unseal(bytes(row.phone_sealed), context="appointment.phone"), own=own)
        return (found,) if found else ()

    def _contacts(self, audience: str, unit: str = "") -> Iterable[_To]:
        query = select(Contact.channel, Contact.address_sealed).where(
            Contact.district_code == actor_of(self._session).district, Contact.audience == audience
        )
        if audience == "unit":
            query = query.where(Contact.unit_code == unit)
        found = []
        for channel, sealed in self._session.execute(query.order_by(Contact.id).limit(_MOST)):
            to = _checked(channel, unseal(bytes(sealed), context="contact.address"), person=False, own={})
            if to is not None:
                found.append(to)
        return found


def _checked(channel: str, address: str, *, person: bool, own: Mapping[str, str]) -> _To | None:
    try:
        return _To(channel, checked_address(channel, address), person, own)
    except Invalid:
        # What was given as a telephone number long ago may be none; that keeps nobody else from being told.
        return None


def _told_time(moment: datetime) -> str:
    here = china_time(moment)
    return f"{here.month}月{here.day}日{here:%H:%M}"
