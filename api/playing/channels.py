"""Plays the channels that nothing else of the demo uses 演示渠道: kiosk, Open311, a file, a missed call, mail and chat.

Each by its own door and under ids that are always the same, so that it is done once and an interrupted run goes on.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import orjson
from sqlalchemy import select

from core.actor import Actor, Role, citizen, system
from core.db import snapshot, transaction
from core.ids import new_id
from hotline.desk import importing
from hotline.intake import Intake, Report
from hotline.open311 import keys, requests, services
from hotline.open311.models import Open311Request
from hotline.outward import contacts
from hotline.telephone import calls, hook
from hotline.telephone.models import Call

#: Invented; {place}: a community of the district.
_KIOSK: Final = ("{place}健身器材松动，老人锻炼危险（演示）", "{place}公厕晚上没有灯（演示）")
_OPEN311: Final = ("{place}路边的垃圾箱倒了（演示）", "{place}人行道的砖松了一片（演示）")
_FILE: Final = ("{place}河涌有异味（演示）", "{place}有人占道洗车（演示）", "{place}树枝挡住了红绿灯（演示）", "")
#: Where the desk is told; nothing leaves the machine, it shows under /sink.
_TOLD: Final = (("mail", "desk@example.org"), ("wecom", "wecombot://wangge-demo-robot-key"))
#: Whoever rings and gives up.
_CALLER: Final = "13800138099"


@dataclass(frozen=True, slots=True)
class Played:
    """What came in now; all zero where it was there already."""

    kiosk: int
    open311: int
    rows: int
    calls: int


def play(intake: Intake, key: str, *, at: datetime, seed: int = 7) -> Played:
    """Let some reports come by every other channel. key: the demo's of Open311. at: aware, the present."""
    book = intake.book
    chance = random.Random(seed)  # noqa: S311  demo places, not secrets
    places = sorted(area.name for area in book.areas.values() if area.kind == "community") or [book.name]

    def said(text: str) -> str:
        return text.format(place=chance.choice(places))

    _contacts(book.district, at=at)
    reports = [Report("kiosk", said(text), at, source_id=f"demo-kiosk-{n}") for n, text in enumerate(_KIOSK, start=1)]
    taken = [intake.receive(report, actor=citizen(book.district), at=at) for report in reports]
    return Played(
        sum(not one.repeated for one in taken),
        _open311(intake, key, [said(text) for text in _OPEN311], at=at),
        _import(intake, [said(text) if text else "" for text in _FILE], at=at),
        _missed(book.district, at=at),
    )


def _contacts(district: str, *, at: datetime) -> None:
    with transaction(Actor(new_id(), "演示管理员", Role.ADMIN, district)) as session:
        if not contacts.listed(session):
            for channel, address in _TOLD:
                contacts.add(session, audience="desk", unit="", channel=channel, address=address, at=at)


def _open311(intake: Intake, key: str, texts: list[str], *, at: datetime) -> int:
    district, count = intake.book.district, 0
    with transaction(system(district, "demo")) as session:
        row = keys.find(session, key)
        offered = services.listed(session, intake.book)
        if row:
            session.expunge(row)
    plain = next((one.code for one in offered.values() if not one.attributes), None)
    if row is None or plain is None:
        return 0
    for n, text in enumerate(texts, start=1):
        form = [("service_code", plain), ("description", text), ("address_string", text)]
        sent = requests.read_form(form, offered, media_hosts=())
        made = requests.accept(row, sent, requests.own_id(f"demo-open311-{n}"), own=True, at=at)
        requests.take_in(intake, offered, made, at=at)
        with snapshot(system(district, "demo")) as session:
            count += session.get_one(Open311Request, (district, made)).received_at == at
    return count


def _import(intake: Intake, texts: list[str], *, at: datetime) -> int:
    lines = ["编号,内容", *(f"demo-{n},{text}" for n, text in enumerate(texts, start=1))]
    with transaction(system(intake.book.district, "demo")) as session:
        run, before = importing.queue(session, "\n".join(lines).encode(), "demo.csv", at=at)
    while importing.work(intake, at=at) is not None:
        pass
    with snapshot(system(intake.book.district, "demo")) as session:
        return 0 if before else importing.progress(session, run.id).taken


def _missed(district: str, *, at: datetime) -> int:
    with transaction(system(district, "demo")) as session:
        # Its events bear the moment, so a second round would be other events under known ids.
        if session.scalar(select(Call.id).where(Call.district_code == district, Call.source_id == "demo-call")):
            return 0
        for kind, before_s in (("ring", 240), ("hangup", 215)):
            told = {"id": f"demo-call-{kind}", "call": "demo-call", "event": kind, "caller": _CALLER, "line": "12345"}
            told["at"] = (at - timedelta(seconds=before_s)).isoformat()
            calls.take(session, hook.read(orjson.dumps(told), at=at), at=at)
    return 1
