"""The worker's phone: receipts of its queue, photos that wait, voice notes, patrols with their tracks, visits.

Revision ID: 0025
Revises: 0024
"""

import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import ROLE, SEES_PART, TOWN, WRITES, append_only, shelter

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_FLOATS = postgresql.ARRAY(sa.Float())
_OWN = "account_id::text = current_setting('wangge.actor', true)"
_SYSTEM = f"{ROLE} = 'system'"
_HERE = f"({TOWN} = '' OR town_code = {TOWN})"
#: Who oversees patrols: of the own town only, where the account has one.
_OVERSEES = f"({ROLE} = 'supervisor' AND {_HERE})"
#: Roles of the house; residents see nothing of all this.
_STAFF = f"{ROLE} IN ('system', 'operator', 'supervisor', 'unit', 'grid_worker', 'official', 'admin')"
_DELETES = "SELECT, INSERT, UPDATE, DELETE"


def upgrade() -> None:
    """Make the tables."""
    _receipts()
    _photos()
    _voices()
    _runs()
    _beside_runs()
    _cover()
    _visits()


def downgrade() -> None:
    """Drop them."""
    for table in (
        *("household_visit", "patrol_cover", "patrol_look", "patrol_note", "patrol_checkin", "patrol_piece"),
        *("patrol_run", "voice_note", "field_photo", "field_receipt"),
    ):
        op.drop_table(table)


def _key(table: str, *names: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("district_code", *names, name=op.f(f"pk_{table}"))


def _district() -> sa.Column[str]:
    return sa.Column("district_code", sa.String(), nullable=False)


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[uuid.UUID]:
    return sa.Column(name, sa.Uuid(), nullable=nullable)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(), server_default=default, nullable=False)


def _when(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, _INSTANT, nullable=nullable)


def _json(name: str, default: str) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(), server_default=sa.text(default), nullable=False)


def _number(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=True)


def _of_run(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["district_code", "run_id"],
        ["patrol_run.district_code", "patrol_run.id"],
        name=op.f(f"fk_{table}_patrol_run"),
    )


def _receipts() -> None:
    op.create_table(
        "field_receipt",
        _district(),
        _uuid("account_id"),
        _uuid("key"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _text("kind"),
        _text("state"),
        _text("device", ""),
        _uuid("case_id", nullable=True),
        sa.Column("case_version", sa.Integer(), nullable=True),
        _json("result", "'{}'::jsonb"),
        _when("phone_at", nullable=True),
        _when("happened_at", nullable=True),
        sa.Column("offset_s", sa.Float(), nullable=False),
        _when("received_at"),
        _when("done_at", nullable=True),
        sa.CheckConstraint("state IN ('begun', 'done', 'refused')", name=op.f("ck_field_receipt_state")),
        _key("field_receipt", "account_id", "key"),
    )
    op.create_index("ix_field_receipt_received", "field_receipt", ["district_code", "received_at"])
    with_case = sa.text("case_id IS NOT NULL")
    op.create_index("ix_field_receipt_case", "field_receipt", ["district_code", "case_id"], postgresql_where=with_case)
    shelter(
        "field_receipt",
        reads=f"{_OWN} OR {_SYSTEM} OR ({ROLE} = 'supervisor' AND {TOWN} = '')",
        writes=f"{_OWN} OR {_SYSTEM}",
        privileges=_DELETES,
    )


def _photos() -> None:
    op.create_table(
        "field_photo",
        _district(),
        _uuid("account_id"),
        _text("key"),
        _text("kind"),
        _text("sha256"),
        _text("media_type"),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        _number("lng"),
        _number("lat"),
        _when("put_at"),
        _when("used_at", nullable=True),
        sa.CheckConstraint("kind IN ('photo', 'voice')", name=op.f("ck_field_photo_kind")),
        _key("field_photo", "account_id", "key"),
    )
    op.create_index("ix_field_photo_put", "field_photo", ["district_code", "put_at"])
    shelter("field_photo", reads=f"{_OWN} OR {_SYSTEM}", writes=f"{_OWN} OR {_SYSTEM}", privileges=_DELETES)


def _voices() -> None:
    op.create_table(
        "voice_note",
        _district(),
        _uuid("id"),
        _uuid("case_id"),
        _text("sha256"),
        _text("media_type"),
        sa.Column("size", sa.Integer(), nullable=False),
        _when("created_at"),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_voice_note_cases")
        ),
        _key("voice_note", "id"),
    )
    op.create_index("ix_voice_note_case", "voice_note", ["district_code", "case_id"])
    shelter("voice_note", reads=SEES_PART, writes=WRITES, privileges="SELECT, INSERT")


def _runs() -> None:
    op.create_table(
        "patrol_run",
        _district(),
        _uuid("id"),
        _uuid("account_id"),
        _text("account_name"),
        _text("town_code"),
        _text("cell_code", ""),
        _when("started_at"),
        _when("stopped_at", nullable=True),
        _when("recorded_at"),
        sa.Column("points", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("length_m", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("stopped_at IS NULL OR stopped_at >= started_at", name=op.f("ck_patrol_run_order")),
        _key("patrol_run", "id"),
    )
    op.create_index("ix_patrol_run_account", "patrol_run", ["district_code", "account_id", "started_at"])
    op.create_index("ix_patrol_run_started", "patrol_run", ["district_code", "started_at"])
    shelter("patrol_run", reads=f"{_OWN} OR {_SYSTEM} OR {_OVERSEES}", writes=f"{_OWN} OR {_SYSTEM}")
    op.create_table(
        "patrol_piece",
        _district(),
        _uuid("run_id"),
        _uuid("key"),
        _uuid("account_id"),
        _text("town_code"),
        sa.Column("lng", _FLOATS, nullable=False),
        sa.Column("lat", _FLOATS, nullable=False),
        sa.Column("accuracy_m", _FLOATS, nullable=False),
        sa.Column("at", postgresql.ARRAY(_INSTANT), nullable=False),
        _when("from_at"),
        _when("to_at"),
        _of_run("patrol_piece"),
        _key("patrol_piece", "run_id", "key"),
    )
    op.create_index("ix_patrol_piece_to", "patrol_piece", ["district_code", "to_at"])
    shelter(
        "patrol_piece",
        reads=f"{_OWN} OR {_SYSTEM} OR {_OVERSEES}",
        writes=f"{_OWN} OR {_SYSTEM}",
        privileges="SELECT, INSERT, DELETE",
    )


def _beside_runs() -> None:
    op.create_table(
        "patrol_checkin",
        _district(),
        _uuid("id"),
        _uuid("run_id"),
        _uuid("account_id"),
        _text("town_code"),
        _text("cell_code", ""),
        _text("what"),
        _text("note", ""),
        _number("lng"),
        _number("lat"),
        _number("accuracy_m"),
        _when("happened_at"),
        _when("recorded_at"),
        sa.CheckConstraint("what IN ('cell', 'place')", name=op.f("ck_patrol_checkin_what")),
        _of_run("patrol_checkin"),
        _key("patrol_checkin", "id"),
    )
    op.create_index("ix_patrol_checkin_run", "patrol_checkin", ["district_code", "run_id"])
    op.create_index("ix_patrol_checkin_happened", "patrol_checkin", ["district_code", "happened_at"])
    reads = f"{_OWN} OR {_SYSTEM} OR {_OVERSEES}"
    shelter("patrol_checkin", reads=reads, writes=f"{_OWN} OR {_SYSTEM}")
    op.create_table(
        "patrol_note",
        _district(),
        _uuid("id"),
        _uuid("account_id"),
        _text("account_name"),
        _text("town_code"),
        _uuid("run_id", nullable=True),
        _uuid("case_id", nullable=True),
        _text("message"),
        _json("params", "'{}'::jsonb"),
        _when("happened_at"),
        _when("recorded_at"),
        _key("patrol_note", "id"),
    )
    op.create_index("ix_patrol_note_recorded", "patrol_note", ["district_code", "recorded_at"])
    shelter("patrol_note", reads=reads, writes=f"{_OWN} OR {_SYSTEM}", privileges="SELECT, INSERT, DELETE")
    op.create_table(
        "patrol_look",
        _district(),
        _uuid("id"),
        _uuid("run_id"),
        _uuid("account_id"),
        _text("town_code"),
        _uuid("looked_by"),
        _text("looked_name"),
        _text("reason"),
        _when("looked_at"),
        _of_run("patrol_look"),
        _key("patrol_look", "id"),
    )
    op.create_index("ix_patrol_look_account", "patrol_look", ["district_code", "account_id", "looked_at"])
    looks = f"{_OVERSEES} AND looked_by::text = current_setting('wangge.actor', true)"
    shelter("patrol_look", reads=reads, writes=looks, privileges="SELECT, INSERT")
    append_only("patrol_look")


def _cover() -> None:
    op.create_table(
        "patrol_cover",
        _district(),
        _text("cell_code"),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("ground", sa.LargeBinary(), nullable=False),
        sa.Column("spots", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("spacing_m", sa.Float(), nullable=False),
        _text("kind"),
        _when("last_at"),
        sa.CheckConstraint("kind IN ('street', 'lattice')", name=op.f("ck_patrol_cover_kind")),
        _key("patrol_cover", "cell_code", "day", "ground"),
    )
    # Counts of ground without a name: whoever works here may see them.
    shelter("patrol_cover", reads=_STAFF, writes=f"{ROLE} IN ('system', 'grid_worker')", privileges=_DELETES)


def _visits() -> None:
    op.create_table(
        "household_visit",
        _district(),
        _uuid("id"),
        _uuid("household_id", nullable=True),
        _text("town_code"),
        _text("cell_code"),
        _text("kind"),
        _text("place", ""),
        _text("hint", ""),
        _number("lng"),
        _number("lat"),
        sa.Column("due_on", sa.Date(), nullable=True),
        _text("state"),
        _text("result", ""),
        _json("form", "'{}'::jsonb"),
        _text("note", ""),
        _text("signature", ""),
        _text("planned_name", ""),
        _when("planned_at"),
        _uuid("done_by", nullable=True),
        _text("done_name", ""),
        _when("happened_at", nullable=True),
        _when("recorded_at", nullable=True),
        sa.CheckConstraint("state IN ('due', 'done', 'void')", name=op.f("ck_household_visit_state")),
        sa.CheckConstraint(
            "result IN ('', 'done', 'absent', 'refused', 'moved')", name=op.f("ck_household_visit_result")
        ),
        _key("household_visit", "id"),
    )
    due = sa.text("state = 'due'")
    op.create_index(
        "ix_household_visit_due", "household_visit", ["district_code", "cell_code", "due_on"], postgresql_where=due
    )
    op.create_index("ix_household_visit_household", "household_visit", ["district_code", "household_id"])
    here = f"({ROLE} IN ('grid_worker', 'supervisor') AND {_HERE})"
    shelter("household_visit", reads=f"{_SYSTEM} OR {here}", writes=f"{_SYSTEM} OR {here}")
