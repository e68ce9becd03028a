"""Rows for tests, with everything filled in that a test does not name. Written as the program itself, in its scope.

Builders write straight into the tables, so that a test of reading does not stand on the code that writes; a case gets
a sound chain of entries all the same. Everything here is invented.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import shapely
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.actor import Actor, Role, system
from core.crypto import blind_index, seal
from core.datums import to_db
from core.ids import check_character, new_id
from dispatch import log
from dispatch.models import Assignment, Attachment, Case, Deadline, Entry, Report
from grid.models import Account, Area, Category, Cell, District, Unit

#: A district code that GB/T 2260 leaves free; tests pass their own where they need another.
DISTRICT = "990100"
TOWN = "990100001"
#: A Wednesday afternoon in China, far from holidays.
NOW = datetime(2026, 11, 18, 6, 0, tzinfo=UTC)
#: Far above the blocks that the program reserves on the same day.
_numbers = iter(range(500_000, 10**6))


def actor(role: Role | str = Role.OPERATOR, **known: Any) -> Actor:
    """Return an actor of a role; `unit` and `town` narrow it."""
    filled = {"id": new_id(), "name": f"测试{Role(role).value}", "district": DISTRICT} | known
    return Actor(role=Role(role), **filled)


def program(district: str = DISTRICT) -> Actor:
    """Return the program itself, who may write everything that tests need."""
    return system(district, "tests")


def square(lng: float = 113.1, lat: float = 23.0, half: float = 0.01) -> shapely.MultiPolygon:
    """Return a square of `2 * half` degrees around a point, EPSG:4490."""
    return shapely.MultiPolygon([shapely.box(lng - half, lat - half, lng + half, lat + half)])


def make_district(session: Session, code: str = DISTRICT, **known: Any) -> str:
    """Write a district unless it is there."""
    filled = {"name": "试验区", "city_name": "试验市", "fictional": True} | known
    session.execute(insert(District).values(district_code=code, **filled).on_conflict_do_nothing())
    return code


def make_town(session: Session, code: str = TOWN, *, district: str = DISTRICT, **known: Any) -> str:
    """Write a town with a square polygon unless it is there."""
    make_district(session, district)
    name = known.pop("name", f"试验{code[-3:]}镇")
    filled = {"name": name, "short": name.removesuffix("镇"), "geom": to_db(square())} | known
    session.execute(
        insert(Area)
        .values(district_code=district, code=code, level="town", town_code=code, **filled)
        .on_conflict_do_nothing()
    )
    return code


def make_cell(session: Session, code: str = TOWN + "001001", *, district: str = DISTRICT, **known: Any) -> str:
    """Write a cell, and its town, unless they are there."""
    make_town(session, code[:9], district=district)
    filled = {"kind": "mixed", "geom": to_db(square())} | known
    session.execute(
        insert(Cell)
        .values(district_code=district, code=code, town_code=code[:9], community_code=code[:12], **filled)
        .on_conflict_do_nothing()
    )
    return code


def make_unit(session: Session, code: str = "U1", *, district: str = DISTRICT, **known: Any) -> str:
    """Write a responsible unit unless it is there."""
    make_district(session, district)
    filled = {"name": f"试验单位{code}", "kind": "department"} | known
    session.execute(insert(Unit).values(district_code=district, code=code, **filled).on_conflict_do_nothing())
    return code


def make_category(session: Session, code: str = "10", *, district: str = DISTRICT, **known: Any) -> str:
    """Write a category unless it is there; its parent is the code without the last two digits."""
    make_district(session, district)
    filled = {"name": f"类别{code}", "parent_code": code[:-2] or None, "level": len(code) // 2} | known
    session.execute(insert(Category).values(district_code=district, code=code, **filled).on_conflict_do_nothing())
    return code


def make_account(session: Session, login: str = "", *, district: str = DISTRICT, **known: Any) -> uuid.UUID:
    """Write an account whose password fits nothing; give `password_hash` to sign in with it."""
    make_district(session, district)
    if known.get("unit_code"):
        make_unit(session, known["unit_code"], district=district)
    key = new_id()
    filled = {"role": "operator", "name": "试验员", "password_hash": "!", "created_at": NOW} | known
    session.execute(insert(Account).values(district_code=district, id=key, login=login or key.hex[-8:], **filled))
    return key


def make_case(session: Session, **known: Any) -> Case:
    """Write a case with its first report and entry, and return it.

    district, unit, lng, lat, name, phone, text, at: for short; every column of the table may be named too.
    `at` is the intake; `due_in` a timedelta from there (default a day; None for no clock).
    """
    district = known.pop("district", DISTRICT)
    unit = known.pop("unit", None)
    at: datetime = known.pop("at", NOW)
    due_in: timedelta | None = known.pop("due_in", timedelta(days=1))
    lng, lat = known.pop("lng", 113.1), known.pop("lat", 23.0)
    name, phone = known.pop("name", None), known.pop("phone", None)
    make_district(session, district)
    if unit:
        make_unit(session, unit, district=district)
    state = known.pop("state", "dispatched" if unit else "received")
    is_open = known.pop("open", state in {"received", "dispatched", "signed", "replied"})
    clock = {"received": "dispatch", "dispatched": "sign", "signed": "reply", "replied": "callback"}.get(state)
    running = is_open and due_in is not None
    body = f"{at:%Y%m%d}{next(_numbers):06d}"
    key = known.pop("id", None) or new_id()
    placed = lng is not None
    filled: dict[str, Any] = {
        "number": body + check_character(body),
        "process": "complaint",
        "process_version": 1,
        "version": 1,
        "kind": "complaint",
        "channel": "hotline",
        "urgency": "ordinary",
        "text": "路口的窨井盖翘起来了，晚上看不清，电动车差点摔倒。",
        "place_name": "试验大道与滨河路口" if placed else "",
        "place_by": "geocoder" if placed else None,
        "place_confidence": 0.8 if placed else None,
        "geom": to_db(shapely.Point(lng, lat)) if placed else None,
        "town_code": TOWN if placed else None,
        "unit_codes": [unit] if unit else [],
        "reported_at": at,
        "received_at": at,
        "due_at": at + due_in if running and due_in is not None else None,
        "due_clock": clock if running else None,
        "closed_at": None if is_open else at + timedelta(days=2),
        "suggestions": {},
    } | known
    line = log.Line("receive", system(district, "intake"), at, at, None, state, {})
    columns = log.as_columns(1, line)
    first = log.genesis(district, key)
    head = log.link(first, columns)
    case = Case(
        district_code=district, id=key, state=state, open=is_open, unit_code=unit, entries=1, head_hash=head, **filled
    )
    session.add(case)
    session.flush()
    session.add(Entry(district_code=district, case_id=key, prev_hash=first, hash=head, **columns))
    make_report(session, case, name=name, phone=phone)
    session.flush()
    return case


def make_report(session: Session, case: Case, **known: Any) -> Report:
    """Write one more report of a case; name and phone are sealed as intake seals them."""
    name, phone = known.pop("name", None), known.pop("phone", None)
    filled: dict[str, Any] = {"channel": case.channel, "text": case.text, "received_at": case.received_at} | known
    report = Report(
        district_code=case.district_code,
        id=new_id(),
        case_id=case.id,
        name_sealed=seal(name, context="report.name") if name else None,
        phone_sealed=seal(phone, context="report.phone") if phone else None,
        phone_index=blind_index(phone, context="phone") if phone else None,
        **filled,
    )
    session.add(report)
    session.flush()
    return report


def make_entry(session: Session, case: Case, action: str, **known: Any) -> Entry:
    """Append one entry to a case's chain and move the case to its state; `by` is the actor."""
    at: datetime = known.pop("at", NOW)
    line = log.Line(
        action,
        known.pop("by", None) or system(case.district_code, "tests"),
        known.pop("happened_at", at),
        at,
        case.state,
        known.pop("to", case.state),
        known.pop("data", {}),
    )
    columns = log.as_columns(case.entries + 1, line)
    sealed = log.link(case.head_hash, columns)
    entry = Entry(
        district_code=case.district_code, case_id=case.id, prev_hash=case.head_hash, hash=sealed, **columns, **known
    )
    session.add(entry)
    case.entries, case.head_hash, case.state = case.entries + 1, sealed, line.state_after
    case.version += 1
    session.flush()
    return entry


def make_assignment(session: Session, case: Case, unit: str = "U1", **known: Any) -> Assignment:
    """Write one unit's share of a case; does not change the case's own unit."""
    make_unit(session, unit, district=case.district_code)
    filled: dict[str, Any] = {
        "share": "lead",
        "state": "sent",
        "why": {"rule": "r1", "words": "试验规则"},
        "created_at": case.received_at,
    } | known
    share = Assignment(district_code=case.district_code, id=new_id(), case_id=case.id, unit_code=unit, **filled)
    session.add(share)
    session.flush()
    return share


def make_deadline(session: Session, case: Case, clock: str = "reply", **known: Any) -> Deadline:
    """Write one clock of a case: five working days from intake unless said otherwise."""
    start: datetime = known.pop("started_at", case.received_at)
    due: datetime = known.pop("due_at", start + timedelta(days=7))
    filled: dict[str, Any] = {
        "unit_code": case.unit_code,
        "limit": "5wd",
        "provisional": False,
        "half_at": start + (due - start) / 2,
        "near_at": start + (due - start) * 0.8,
        "next_at": None if known.get("stopped_at") else start + (due - start) / 2,
    } | known
    made = Deadline(
        district_code=case.district_code,
        id=new_id(),
        case_id=case.id,
        clock=clock,
        started_at=start,
        due_at=due,
        **filled,
    )
    session.add(made)
    session.flush()
    return made


def make_attachment(session: Session, case: Case, **known: Any) -> Attachment:
    """Write the row of a photo; the bytes themselves are not stored."""
    filled: dict[str, Any] = {
        "purpose": "report",
        "sha256": "0" * 64,
        "media_type": "image/jpeg",
        "width": 640,
        "height": 480,
        "created_at": case.received_at,
    } | known
    made = Attachment(district_code=case.district_code, id=new_id(), case_id=case.id, **filled)
    session.add(made)
    session.flush()
    return made


def reply_fields(kind: str = "complaint", **known: str) -> dict[str, str]:
    """Return a filled closing form of a kind of case, as the unit's reply needs it; `known` replaces what is named."""
    from dispatch.process import process

    table = process("complaint")
    filled = {"answer": "已到现场处理完毕。", "truth": "yes", "duty": "yes", "contacted": "yes", "solved": "yes"}
    step = table.step_for("reply", "signed")
    return {name: filled[name] for name in table.needs(step, kind)} | known


def put_away(session: Session, district: str) -> None:
    """Close the open cases that other tests left, so that a bounded list shows those of this test."""
    session.execute(
        text("UPDATE cases SET open = false, state = 'closed', due_at = NULL WHERE district_code = :d AND open"),
        {"d": district},
    )
