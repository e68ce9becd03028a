"""The tables of the registers: residents, households, rooms, rentals, organisations, parts, key places. No behaviour.

Every row that stands somewhere has a point and the codes of the areas around it, and follows the cells when they
change. Personal data is sealed; the history of a row is sealed with the row's own salt and unreadable without it.
"""

import uuid
from datetime import date, datetime
from typing import Any

from geoalchemy2 import WKBElement
from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import SchemaItem

from core.db import Base
from grid.models import Instant, geometry


class Placed:
    """What stands somewhere: its point in EPSG:4490 and the areas that contain it."""

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: None where nobody knows the point or no area of that level contains it.
    town_code: Mapped[str | None]
    community_code: Mapped[str | None]
    cell_code: Mapped[str | None]
    geom: Mapped[WKBElement | None] = mapped_column(geometry("POINT"))
    #: As given: a name of `core.datums.Datum` and the coordinates in it.
    source_datum: Mapped[str | None]
    source_lng: Mapped[float | None]
    source_lat: Mapped[float | None]


class Kept:
    """What is kept for a purpose and a time: its state, its version, and the salt that its history is sealed with."""

    #: 16 random bytes (`grid.registers.sealing.new_salt`); erased with the row, and the row's history with it.
    salt: Mapped[bytes]
    #: See each table; the first one named is that of a new row.
    state: Mapped[str]
    #: Counts up with each change; who changes says which one was seen.
    version: Mapped[int] = mapped_column(server_default=text("1"))
    #: Who told of the row first: `manual`, or the code of a department's list.
    source: Mapped[str] = mapped_column(server_default="manual")
    created_at: Mapped[datetime] = mapped_column(Instant)
    changed_at: Mapped[datetime] = mapped_column(Instant)
    #: Since when it is no longer in use; the time of keeping counts from here. None while it is.
    ended_at: Mapped[datetime | None] = mapped_column(Instant)


def _states(*names: str) -> CheckConstraint:
    listed = ", ".join(f"'{name}'" for name in names)
    return CheckConstraint(f"state IN ({listed})", name="state")


def _placed(table: str, *, state: str) -> tuple[SchemaItem, ...]:
    """Return the indexes that every register has: by cell, by point, and by the end of its use."""
    return (
        Index(f"ix_{table}_cell", "district_code", "cell_code", "id", postgresql_where=text(f"state = '{state}'")),
        Index(f"ix_{table}_geom", "geom", postgresql_using="gist"),
        Index(f"ix_{table}_ended", "district_code", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
    )


def _of(column: str, table: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", column], [f"{table}.district_code", f"{table}.id"])


class Building(Placed, Kept, Base):
    """栋: a building that people live or work in."""

    __tablename__ = "building"
    __table_args__ = (
        _states("standing", "gone"),
        *_placed("building", state="standing"),
        Index("uq_building_code", "district_code", "code", unique=True, postgresql_where=text("code <> ''")),
        Index("ix_building_name", "district_code", "estate", "name"),
    )

    #: The district's own key of buildings; empty where there is none.
    code: Mapped[str] = mapped_column(server_default="")
    #: As people say it: 3栋.
    name: Mapped[str]
    #: 小区: the estate or village it belongs to; empty for none.
    estate: Mapped[str] = mapped_column(server_default="")
    #: Road and number.
    address: Mapped[str] = mapped_column(server_default="")
    #: A key of `grid.registers.fields.BUILDINGS`.
    kind: Mapped[str]
    floors: Mapped[int | None]


class Room(Placed, Kept, Base):
    """室: a dwelling or business room; its entrance 单元 is a part of its name."""

    __tablename__ = "room"
    __table_args__ = (
        _states("there", "gone"),
        *_placed("room", state="there"),
        _of("building_id", "building"),
        Index(
            "uq_room_name",
            "district_code",
            "building_id",
            "entrance",
            "number",
            unique=True,
            postgresql_where=text("state = 'there'"),
        ),
    )

    building_id: Mapped[uuid.UUID]
    #: 单元: `1` of 1单元; empty in a building with one door.
    entrance: Mapped[str] = mapped_column(server_default="")
    #: 室: `501`.
    number: Mapped[str]
    floor: Mapped[int | None]
    #: A key of `grid.registers.fields.USES`.
    use: Mapped[str]
    area_m2: Mapped[int | None]


class Household(Placed, Kept, Base):
    """户: people who live together; several may share a room."""

    __tablename__ = "household"
    __table_args__ = (
        _states("living", "moved"),
        *_placed("household", state="living"),
        _of("room_id", "room"),
        Index("ix_household_room", "district_code", "room_id"),
    )

    #: None where only the point or only the area is known.
    room_id: Mapped[uuid.UUID | None]
    #: A key of `grid.registers.fields.HOUSEHOLDS`.
    kind: Mapped[str]
    #: 户主, one of its members. No foreign key: members point here, and a row of each would need the other one first.
    head_id: Mapped[uuid.UUID | None]


class Resident(Placed, Kept, Base):
    """人: one person who lives or lived in the district. Point and areas are those of the household."""

    __tablename__ = "resident"
    __table_args__ = (
        # living: lives here; moved: moved away; dead; merged: was another row's double.
        _states("living", "moved", "dead", "merged"),
        CheckConstraint("(state = 'merged') = (merged_into IS NOT NULL)", name="merged"),
        CheckConstraint("(id_sealed IS NULL) = (id_index IS NULL)", name="id_number"),
        CheckConstraint("(phone_sealed IS NULL) = (phone_index IS NULL)", name="phone"),
        CheckConstraint("sex IN ('', 'm', 'f')", name="sex"),
        *_placed("resident", state="living"),
        _of("household_id", "household"),
        _of("merged_into", "resident"),
        # One person is one row, wherever he moved and whatever became of him.
        Index(
            "uq_resident_id_number",
            "district_code",
            "id_index",
            unique=True,
            postgresql_where=text("id_index IS NOT NULL AND state <> 'merged'"),
        ),
        Index("ix_resident_phone", "district_code", "phone_index", postgresql_where=text("phone_index IS NOT NULL")),
        Index("ix_resident_household", "district_code", "household_id"),
        Index("ix_resident_merged", "district_code", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        Index("ix_resident_birth", "district_code", "birth_date", "id", postgresql_where=text("state = 'living'")),
        Index(
            "ix_resident_care",
            "district_code",
            "cell_code",
            "id",
            postgresql_where=text("state = 'living' AND care <> '{}'"),
        ),
    )

    #: Sealed as `grid.registers.sealing.CONTEXTS["name"]`.
    name_sealed: Mapped[bytes]
    #: What finds the name by its beginning or by pinyin: keyed hashes (`grid.registers.sealing.name_terms`).
    name_terms: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"))
    #: card, other (passport or travel permit), or empty where there is no number.
    id_kind: Mapped[str] = mapped_column(server_default="")
    id_sealed: Mapped[bytes | None]
    #: Blind index of the number (`grid.registers.sealing.id_index`).
    id_index: Mapped[bytes | None]
    phone_sealed: Mapped[bytes | None]
    #: Blind index of the digits (`grid.registers.sealing.phone_index`).
    phone_index: Mapped[bytes | None]
    birth_date: Mapped[date | None]
    #: m, f, or empty where it is not known.
    sex: Mapped[str] = mapped_column(server_default="")
    #: A key of `grid.registers.fields.RESIDENCES`: 户籍, 人户分离, 流动, 境外.
    residence: Mapped[str]
    #: 户籍地: where the person is registered, as told; empty for here.
    home_area: Mapped[str] = mapped_column(server_default="")
    #: 居住证: until when the residence permit of a person of the floating population holds.
    permit_until: Mapped[date | None]
    #: Keys of `grid.registers.fields.CARE`: special data, shown by duty only.
    care: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    #: A key of `grid.registers.fields.RELATIONS`: what the person is to the head of the household.
    relation: Mapped[str] = mapped_column(server_default="")
    #: The last household, also of somebody who moved away or died.
    household_id: Mapped[uuid.UUID | None]
    #: The row that this one was a double of.
    merged_into: Mapped[uuid.UUID | None]


class Tenancy(Placed, Kept, Base):
    """出租屋: a room that is let, by whom and how long."""

    __tablename__ = "tenancy"
    __table_args__ = (
        _states("let", "ended"),
        CheckConstraint("lease_to IS NULL OR lease_to >= lease_from", name="lease"),
        CheckConstraint("(landlord_phone_sealed IS NULL) = (landlord_phone_index IS NULL)", name="phone"),
        *_placed("tenancy", state="let"),
        _of("room_id", "room"),
        Index("uq_tenancy_room", "district_code", "room_id", unique=True, postgresql_where=text("state = 'let'")),
        Index("ix_tenancy_lease", "district_code", "lease_to", "id", postgresql_where=text("state = 'let'")),
    )

    room_id: Mapped[uuid.UUID]
    landlord_name_sealed: Mapped[bytes]
    landlord_phone_sealed: Mapped[bytes | None]
    landlord_phone_index: Mapped[bytes | None]
    lease_from: Mapped[date]
    lease_to: Mapped[date | None]
    #: 租赁备案号: number under which the lease is filed; empty for none.
    filed_number: Mapped[str] = mapped_column(server_default="")
    #: Most people that may live in it.
    most_people: Mapped[int | None]
    #: When its fire safety was looked at last.
    checked_on: Mapped[date | None]


class Organisation(Placed, Kept, Base):
    """组织: a firm, a business of one person, a society, a school, an office."""

    __tablename__ = "organisation"
    __table_args__ = (
        _states("open", "closed"),
        CheckConstraint("(phone_sealed IS NULL) = (phone_index IS NULL)", name="phone"),
        *_placed("organisation", state="open"),
        _of("room_id", "room"),
        Index(
            "uq_organisation_credit_code",
            "district_code",
            "credit_code",
            unique=True,
            postgresql_where=text("credit_code <> '' AND state = 'open'"),
        ),
        Index("ix_organisation_name", "district_code", "name", postgresql_ops={"name": "text_pattern_ops"}),
    )

    name: Mapped[str]
    #: 统一社会信用代码: 18 characters with their check (GB 32100); empty where there is none.
    credit_code: Mapped[str] = mapped_column(server_default="")
    #: A key of `grid.registers.fields.ORGANISATIONS`.
    kind: Mapped[str]
    #: What it does, as the licence says.
    trade: Mapped[str] = mapped_column(server_default="")
    address: Mapped[str] = mapped_column(server_default="")
    room_id: Mapped[uuid.UUID | None]
    #: 负责人 and how to reach him.
    contact_sealed: Mapped[bytes | None]
    phone_sealed: Mapped[bytes | None]
    phone_index: Mapped[bytes | None]
    employees: Mapped[int | None]


class Part(Placed, Kept, Base):
    """部件: a piece of city furniture with its code."""

    __tablename__ = "part"
    __table_args__ = (
        _states("sound", "damaged", "missing", "removed"),
        CheckConstraint("(state = 'removed') = (ended_at IS NOT NULL)", name="removed"),
        Index("ix_part_cell", "district_code", "cell_code", "id", postgresql_where=text("state <> 'removed'")),
        Index("ix_part_geom", "geom", postgresql_using="gist"),
        Index("ix_part_ended", "district_code", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("uq_part_code", "district_code", "code", unique=True),
        Index("ix_part_class", "district_code", "class_code", "id"),
    )

    #: By the district's pattern (`grid.registers.parts`): 16 digits in the common cut.
    code: Mapped[str]
    #: Large and small class, cut out of the code by the pattern.
    class_code: Mapped[str]
    name: Mapped[str]
    #: 主管部门: the unit that answers for it; empty where it is not known.
    unit_code: Mapped[str] = mapped_column(server_default="")
    installed_on: Mapped[date | None]
    note: Mapped[str] = mapped_column(server_default="")


class KeyPlace(Placed, Kept, Base):
    """重点场所: a place that is inspected at intervals."""

    __tablename__ = "key_place"
    __table_args__ = (
        _states("open", "closed"),
        CheckConstraint("every_days BETWEEN 1 AND 3650", name="interval"),
        *_placed("key_place", state="open"),
        _of("organisation_id", "organisation"),
        Index("ix_key_place_due", "district_code", "due_on", "id", postgresql_where=text("state = 'open'")),
    )

    name: Mapped[str]
    #: A key of `grid.registers.fields.PLACES`.
    kind: Mapped[str]
    organisation_id: Mapped[uuid.UUID | None]
    address: Mapped[str] = mapped_column(server_default="")
    #: high, medium or low.
    risk: Mapped[str]
    #: The duty whose holder inspects it (`grid.duties.DUTIES`).
    duty: Mapped[str]
    inspected_on: Mapped[date | None]
    every_days: Mapped[int]
    #: The day by which the next inspection is due.
    due_on: Mapped[date]


class LifeEvent(Base):
    """事: what happened to one row of a register. Append-only; the row is always what its events make of it."""

    __tablename__ = "life_event"
    __table_args__ = (Index("ix_life_event_subject", "district_code", "subject_id", "id"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: The table of the subject: `resident`, `household`, `room`, …
    register: Mapped[str]
    subject_id: Mapped[uuid.UUID]
    #: A key of `grid.registers.events.KINDS`.
    kind: Mapped[str]
    happened_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    actor_role: Mapped[str]
    unit_code: Mapped[str | None]
    #: `manual`, `visit`, or the code of a department's list.
    source: Mapped[str]
    #: JSON `{"set": {field: value}, "was": {field: value}, …}`, sealed with the subject's salt.
    data_sealed: Mapped[bytes]
    #: The event that this one takes back.
    undoes: Mapped[uuid.UUID | None]


class Opening(Base):
    """查看记录: somebody opened one protected field of one row, and why. Append-only; the person concerned reads it."""

    __tablename__ = "register_opening"
    __table_args__ = (
        Index("ix_register_opening_subject", "district_code", "subject_id", "opened_at"),
        Index("ix_register_opening_actor", "district_code", "actor_id", "opened_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    register: Mapped[str]
    subject_id: Mapped[uuid.UUID]
    #: name, id_number, phone, …
    field: Mapped[str]
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    actor_role: Mapped[str]
    unit_code: Mapped[str | None]
    #: The duties by which it could be opened, as they were in the subject's cell.
    duties: Mapped[list[str]] = mapped_column(ARRAY(String))
    #: A key of `grid.openings.REASONS`.
    reason_code: Mapped[str]
    #: Words, sealed with the subject's salt: people write names into them.
    reason_sealed: Mapped[bytes]
    opened_at: Mapped[datetime] = mapped_column(Instant)
    #: Until then the same person sees the field again without another row.
    expires_at: Mapped[datetime] = mapped_column(Instant)


class Slip(Base):
    """查询凭条: the code on a slip by which the person concerned reads who opened the own data."""

    __tablename__ = "register_slip"
    __table_args__ = (Index("ix_register_slip_subject", "district_code", "subject_id"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Blind index of the code; the code itself stands on the slip alone.
    code_index: Mapped[bytes] = mapped_column(primary_key=True)
    subject_id: Mapped[uuid.UUID]
    issued_by: Mapped[str]
    issued_at: Mapped[datetime] = mapped_column(Instant)
    expires_at: Mapped[datetime] = mapped_column(Instant)


class RegisterLog(Base):
    """登记簿日志: exports, erasures, holds and changed rules. Append-only; holds no personal data."""

    __tablename__ = "register_log"
    __table_args__ = (Index("ix_register_log_newest", "district_code", "id"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: export, erase, hold, release, permissions, retention, part_codes.
    kind: Mapped[str]
    #: The table it was about; empty for several.
    register: Mapped[str] = mapped_column(server_default="")
    actor_id: Mapped[uuid.UUID | None]
    actor_name: Mapped[str]
    actor_role: Mapped[str]
    unit_code: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(Instant)
    #: Counts, filters, reasons: never a value of a row.
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)


class LegalHold(Base):
    """保全: what must not be erased though its time is over."""

    __tablename__ = "legal_hold"
    __table_args__ = (
        CheckConstraint("released_at IS NULL OR released_at >= placed_at", name="times"),
        Index(
            "ix_legal_hold_standing",
            "district_code",
            "register",
            "subject_id",
            postgresql_where=text("released_at IS NULL"),
        ),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    register: Mapped[str]
    #: None for the whole register.
    subject_id: Mapped[uuid.UUID | None]
    reason: Mapped[str]
    #: The document that orders it, with its number.
    document: Mapped[str]
    placed_by: Mapped[str]
    placed_at: Mapped[datetime] = mapped_column(Instant)
    released_by: Mapped[str | None]
    released_at: Mapped[datetime | None] = mapped_column(Instant)


#: Tables with a point and codes of areas that are attached again when cells change.
FOLLOWERS = ("building", "room", "household", "resident", "tenancy", "organisation", "part", "key_place")
