"""The table of who answers for which duty in which cell; no behaviour (`grid.duties` has it)."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, column, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base
from grid.models import Instant


class CellDuty(Base):
    """One person or unit answers for one duty in one cell over one span."""

    __tablename__ = "cell_duty"
    __table_args__ = (
        ForeignKeyConstraint(["district_code", "account_id"], ["account.district_code", "account.id"]),
        ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),
        CheckConstraint(
            "duty IN ('census', 'security', 'labour', 'civil_affairs', 'family_planning', 'urban_management',"
            " 'market', 'safety', 'floating_population')",
            name="duty",
        ),
        CheckConstraint("rank IN ('primary', 'deputy', 'stand_in')", name="rank"),
        CheckConstraint("num_nonnulls(account_id, unit_code) = 1", name="holder"),
        CheckConstraint("valid_to >= valid_from", name="span"),
        CheckConstraint("rank <> 'stand_in' OR valid_to IS NOT NULL", name="stand_in_ends"),
        ExcludeConstraint(
            (column("district_code"), "="),
            (column("cell_code"), "="),
            (column("duty"), "="),
            (column("rank"), "="),
            (text("tstzrange(valid_from, valid_to)"), "&&"),
            name="ex_cell_duty_one_at_a_time",
            using="gist",
        ),
        Index("ix_cell_duty_account_id", "district_code", "account_id"),
        Index("ix_cell_duty_cell_code", "district_code", "cell_code"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    #: 15 digits; no foreign key, because duties of cells that are gone are history.
    cell_code: Mapped[str]
    #: One of `grid.duties.DUTIES`.
    duty: Mapped[str]
    #: One of `grid.duties.RANKS`.
    rank: Mapped[str]
    #: The person, or else the unit.
    account_id: Mapped[uuid.UUID | None]
    unit_code: Mapped[str | None]
    valid_from: Mapped[datetime] = mapped_column(Instant)
    #: Exclusive; None as long as nobody ends it; equal to `valid_from` when it was called off.
    valid_to: Mapped[datetime | None] = mapped_column(Instant)
    #: assign, hand_over, follow (the cell was split or merged), plan (a file), load.
    source: Mapped[str]
    why: Mapped[str] = mapped_column(String, server_default="")
    #: Why the person was given the duty without a valid certificate; empty with one.
    exception: Mapped[str] = mapped_column(String, server_default="")
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    recorded_by: Mapped[str]
    #: When, by whom and why it was ended before the end it was given.
    ended_at: Mapped[datetime | None] = mapped_column(Instant)
    ended_by: Mapped[str | None]
    ended_why: Mapped[str] = mapped_column(String, server_default="")
