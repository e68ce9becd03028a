"""The tables behind the worker's phone: receipts, photos that wait, patrols, tracks, visits. No behaviour."""

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, Float, ForeignKeyConstraint, Index, Integer, LargeBinary, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


def _of_run() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["district_code", "run_id"], ["patrol_run.district_code", "patrol_run.id"])


class FieldReceipt(Base):
    """回执: one action of a phone's queue, bound to its content, and what came of it."""

    __tablename__ = "field_receipt"
    __table_args__ = (
        CheckConstraint("state IN ('begun', 'done', 'refused')", name="state"),
        Index("ix_field_receipt_received", "district_code", "received_at"),
        Index("ix_field_receipt_case", "district_code", "case_id", postgresql_where=text("case_id IS NOT NULL")),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Chosen by the phone.
    key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: SHA-256 of the action's canonical JSON: the same key with other content is refused.
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    kind: Mapped[str]
    #: begun: seen, nothing written yet; done: written; refused: refused or in conflict when it was last tried.
    state: Mapped[str]
    #: Opaque id of the installation.
    device: Mapped[str] = mapped_column(server_default="")
    case_id: Mapped[uuid.UUID | None]
    #: Version of the case after the action: what an action that builds on this one expects.
    case_version: Mapped[int | None]
    #: What the phone was told.
    result: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    #: When it happened by the phone's own clock, and corrected by `offset_s`.
    phone_at: Mapped[datetime | None] = mapped_column(Instant)
    happened_at: Mapped[datetime | None] = mapped_column(Instant)
    #: The phone's clock minus the server's, in seconds.
    offset_s: Mapped[float] = mapped_column(Float)
    received_at: Mapped[datetime] = mapped_column(Instant)
    done_at: Mapped[datetime | None] = mapped_column(Instant)


class FieldPhoto(Base):
    """待用照片: a photo or voice note that a phone sent ahead of the action that names it."""

    __tablename__ = "field_photo"
    __table_args__ = (
        CheckConstraint("kind IN ('photo', 'voice')", name="kind"),
        Index("ix_field_photo_put", "district_code", "put_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: SHA-256 in hex of the bytes as the phone had them.
    key: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    #: SHA-256 in hex of the bytes as stored: re-encoded, without EXIF.
    sha256: Mapped[str]
    media_type: Mapped[str]
    size: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    #: Where the phone wrote that it was taken, WGS84; forgotten once an action used it.
    lng: Mapped[float | None]
    lat: Mapped[float | None]
    put_at: Mapped[datetime] = mapped_column(Instant)
    used_at: Mapped[datetime | None] = mapped_column(Instant)


class PatrolRun(Base):
    """巡查: one walk that a worker started and stopped."""

    __tablename__ = "patrol_run"
    __table_args__ = (
        CheckConstraint("stopped_at IS NULL OR stopped_at >= started_at", name="order"),
        Index("ix_patrol_run_account", "district_code", "account_id", "started_at"),
        Index("ix_patrol_run_started", "district_code", "started_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Made by the phone.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    account_name: Mapped[str]
    town_code: Mapped[str]
    #: The cell meant at the start; empty where the worker walks through several.
    cell_code: Mapped[str] = mapped_column(server_default="")
    #: By the phone's corrected clock.
    started_at: Mapped[datetime] = mapped_column(Instant)
    stopped_at: Mapped[datetime | None] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    #: Positions taken, before thinning, and the length of the track.
    points: Mapped[int] = mapped_column(server_default=text("0"))
    length_m: Mapped[float] = mapped_column(Float, server_default=text("0"))


class PatrolPiece(Base):
    """轨迹段: a thinned piece of a track; erased when the district's retention is over."""

    __tablename__ = "patrol_piece"
    __table_args__ = (_of_run(), Index("ix_patrol_piece_to", "district_code", "to_at"))

    district_code: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: Key of the action that brought it.
    key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    town_code: Mapped[str]
    #: `(n,)` each, WGS84 as the phone gave them.
    lng: Mapped[list[float]] = mapped_column(ARRAY(Float))
    lat: Mapped[list[float]] = mapped_column(ARRAY(Float))
    accuracy_m: Mapped[list[float]] = mapped_column(ARRAY(Float))
    at: Mapped[list[datetime]] = mapped_column(ARRAY(Instant))
    from_at: Mapped[datetime] = mapped_column(Instant)
    to_at: Mapped[datetime] = mapped_column(Instant)


class PatrolCheckin(Base):
    """签到: the worker says here I am, during a run. The position goes with the tracks' retention."""

    __tablename__ = "patrol_checkin"
    __table_args__ = (
        CheckConstraint("what IN ('cell', 'place')", name="what"),
        _of_run(),
        Index("ix_patrol_checkin_run", "district_code", "run_id"),
        Index("ix_patrol_checkin_happened", "district_code", "happened_at"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    run_id: Mapped[uuid.UUID]
    account_id: Mapped[uuid.UUID]
    town_code: Mapped[str]
    #: The cell of the position; empty outside every cell.
    cell_code: Mapped[str] = mapped_column(server_default="")
    what: Mapped[str]
    note: Mapped[str] = mapped_column(server_default="")
    lng: Mapped[float | None]
    lat: Mapped[float | None]
    accuracy_m: Mapped[float | None]
    happened_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class PatrolNote(Base):
    """提示: something about positions that a supervisor may want to ask about. No finding, no accusation."""

    __tablename__ = "patrol_note"
    __table_args__ = (Index("ix_patrol_note_recorded", "district_code", "recorded_at"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID]
    account_name: Mapped[str]
    town_code: Mapped[str]
    run_id: Mapped[uuid.UUID | None]
    case_id: Mapped[uuid.UUID | None]
    #: English msgid and what fills it.
    message: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    happened_at: Mapped[datetime] = mapped_column(Instant)
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class PatrolLook(Base):
    """查看轨迹记录: who looked at whose track, and why. Append-only; the worker concerned sees it."""

    __tablename__ = "patrol_look"
    __table_args__ = (_of_run(), Index("ix_patrol_look_account", "district_code", "account_id", "looked_at"))

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    run_id: Mapped[uuid.UUID]
    #: Whose track it is.
    account_id: Mapped[uuid.UUID]
    town_code: Mapped[str]
    looked_by: Mapped[uuid.UUID]
    looked_name: Mapped[str]
    reason: Mapped[str]
    looked_at: Mapped[datetime] = mapped_column(Instant)


class PatrolCover(Base):
    """覆盖: which spots along the streets of a cell were passed on a day, by anybody. Names no person."""

    __tablename__ = "patrol_cover"
    __table_args__ = (CheckConstraint("kind IN ('street', 'lattice')", name="kind"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    cell_code: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    #: Digest of the spots that `spots` counts: other roads or another shape of the cell begin anew.
    ground: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    #: Places in `grid.spots.Spots`, sorted, each once.
    spots: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    #: How many spots there are, what metres each stands for, and whether they lie along streets or on a lattice.
    total: Mapped[int]
    spacing_m: Mapped[float] = mapped_column(Float)
    kind: Mapped[str]
    last_at: Mapped[datetime] = mapped_column(Instant)


class HouseholdVisit(Base):
    """入户走访: a visit that is due, was made, or was called off."""

    __tablename__ = "household_visit"
    __table_args__ = (
        CheckConstraint("state IN ('due', 'done', 'void')", name="state"),
        CheckConstraint("result IN ('', 'done', 'absent', 'refused', 'moved')", name="result"),
        Index("ix_household_visit_due", "district_code", "cell_code", "due_on", postgresql_where=text("state = 'due'")),
        Index("ix_household_visit_household", "district_code", "household_id"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: In the register of households; None for a door that is in no register.
    household_id: Mapped[uuid.UUID | None]
    town_code: Mapped[str]
    cell_code: Mapped[str]
    #: One of `grid.visits.KINDS`.
    kind: Mapped[str]
    #: Building, unit, room; no name.
    place: Mapped[str] = mapped_column(server_default="")
    #: What to look at, in the words of whoever planned it.
    hint: Mapped[str] = mapped_column(server_default="")
    #: WGS84 to within what a phone shows: EPSG:4490.
    lng: Mapped[float | None]
    lat: Mapped[float | None]
    #: None for a visit that nobody planned.
    due_on: Mapped[date | None]
    state: Mapped[str]
    #: done, absent (nobody there), refused, moved (lives elsewhere now); empty before.
    result: Mapped[str] = mapped_column(server_default="")
    form: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    note: Mapped[str] = mapped_column(server_default="")
    #: SHA-256 in hex of the stored picture of the signature; empty without one.
    signature: Mapped[str] = mapped_column(server_default="")
    planned_name: Mapped[str] = mapped_column(server_default="")
    planned_at: Mapped[datetime] = mapped_column(Instant)
    done_by: Mapped[uuid.UUID | None]
    done_name: Mapped[str] = mapped_column(server_default="")
    happened_at: Mapped[datetime | None] = mapped_column(Instant)
    recorded_at: Mapped[datetime | None] = mapped_column(Instant)
