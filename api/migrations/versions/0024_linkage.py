"""Departments' lists, what was linked, and where they disagree.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import DISTRICT, ROLE, program, shelter

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_JSON = postgresql.JSONB(astext_type=sa.Text())
#: Who takes lists in; the program does the work.
_KEEPERS = f"{ROLE} IN ('system', 'admin')"
_LOOKS = f"{ROLE} IN ('system', 'admin', 'supervisor')"
#: Who decides has a duty in the person's cell: each query joins the person, whose own policy knows that.
_STAFF = f"{ROLE} IN ('system', 'admin', 'supervisor', 'unit', 'grid_worker')"
_DECIDES = f"{ROLE} IN ('system', 'admin', 'unit', 'grid_worker')"


def upgrade() -> None:
    """Make the tables."""
    _lists()
    _source_rows()
    _doubts()
    _conflicts()
    shelter("register_list", reads=_LOOKS, writes=_KEEPERS)
    shelter("register_list_progress", reads=_LOOKS, writes=_KEEPERS)
    shelter("source_row", reads=_STAFF, writes=_DECIDES)
    shelter("link_doubt", reads=_STAFF, writes=_DECIDES)
    shelter("field_conflict", reads=_STAFF, writes=_DECIDES)
    # A person who is erased from the register is erased from what departments said, too.
    for table in ("field_conflict", "link_doubt", "source_row"):
        op.execute(f"CREATE POLICY erases ON {table} FOR DELETE USING ({DISTRICT} AND {ROLE} = 'system')")
        op.execute(f"GRANT DELETE ON {table} TO {program()}")


def downgrade() -> None:
    """Drop them."""
    for table in ("field_conflict", "link_doubt", "source_row", "register_list_progress", "register_list"):
        op.drop_table(table)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(), server_default=default, nullable=False)


def _id(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Uuid(), nullable=nullable)


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, _INSTANT, nullable=nullable)


def _sealed(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _flag(name: str, default: str | None = None) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text(default) if default else None, nullable=False)


def _of(column: str, table: str, named: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["district_code", column], [f"{table}.district_code", f"{table}.id"], name=op.f(named)
    )


def _lists() -> None:
    op.create_table(
        "register_list",
        _text("district_code"),
        _id("id"),
        _text("kind"),
        _text("source"),
        _text("file_name"),
        _text("digest"),
        _flag("whole"),
        _flag("skip_bad"),
        _flag("doubtful"),
        _sealed("file_sealed", nullable=True),
        _sealed("marked_sealed", nullable=True),
        _text("state"),
        sa.Column("counts", _JSON, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("error", _JSON, nullable=True),
        _id("asked_by", nullable=True),
        _text("asked_name"),
        _at("asked_at"),
        _at("started_at", nullable=True),
        _at("finished_at", nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'refused', 'cancelled', 'failed')",
            name=op.f("ck_register_list_state"),
        ),
        sa.CheckConstraint(
            "(state IN ('waiting', 'running')) = (finished_at IS NULL)", name=op.f("ck_register_list_finished")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_register_list")),
    )
    op.create_index("ix_register_list_newest", "register_list", ["district_code", "asked_at"])
    op.create_index(
        "ix_register_list_open",
        "register_list",
        ["district_code", "asked_at", "id"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "register_list_progress",
        _text("district_code"),
        _id("list_id"),
        _text("phase", ""),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _flag("stop", "false"),
        _of("list_id", "register_list", "fk_register_list_progress_register_list"),
        sa.PrimaryKeyConstraint("district_code", "list_id", name=op.f("pk_register_list_progress")),
    )


def _source_rows() -> None:
    op.create_table(
        "source_row",
        _text("district_code"),
        _id("id"),
        _text("register"),
        _text("source"),
        _id("list_id"),
        sa.Column("row", sa.Integer(), nullable=False),
        _id("subject_id", nullable=True),
        _sealed("digest"),
        _sealed("key_index", nullable=True),
        _sealed("sealed"),
        _at("said_at"),
        _text("ended", ""),
        _at("until_at", nullable=True),
        sa.CheckConstraint("ended IN ('', 'replaced', 'gone')", name=op.f("ck_source_row_ended")),
        sa.CheckConstraint("(ended = '') = (until_at IS NULL)", name=op.f("ck_source_row_until")),
        _of("list_id", "register_list", "fk_source_row_register_list"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_source_row")),
    )
    op.create_index("ix_source_row_subject", "source_row", ["district_code", "subject_id"])
    op.create_index(
        "ix_source_row_standing",
        "source_row",
        ["district_code", "register", "source", "digest"],
        postgresql_where=sa.text("ended = ''"),
    )


def _decided() -> list[sa.Column[object]]:
    return [_id("decided_by", nullable=True), _text("decided_name", ""), _at("decided_at", nullable=True)]  # type: ignore[list-item]


def _doubts() -> None:
    op.create_table(
        "link_doubt",
        _text("district_code"),
        _id("id"),
        _id("source_row_id"),
        _id("other_id"),
        sa.Column("bits", sa.Float(), nullable=False),
        _text("state"),
        *_decided(),
        sa.CheckConstraint("state IN ('waiting', 'same', 'different')", name=op.f("ck_link_doubt_state")),
        sa.CheckConstraint("(state = 'waiting') = (decided_at IS NULL)", name=op.f("ck_link_doubt_decided")),
        _of("source_row_id", "source_row", "fk_link_doubt_source_row"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_link_doubt")),
    )
    op.create_index("uq_link_doubt_pair", "link_doubt", ["district_code", "source_row_id", "other_id"], unique=True)
    op.create_index(
        "ix_link_doubt_waiting",
        "link_doubt",
        ["district_code", "bits", "id"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_link_doubt_other", "link_doubt", ["district_code", "other_id"])


def _conflicts() -> None:
    op.create_table(
        "field_conflict",
        _text("district_code"),
        _id("id"),
        _id("subject_id"),
        _id("source_row_id"),
        _text("source"),
        _text("field"),
        sa.Column("backed_by", postgresql.ARRAY(sa.String()), nullable=False),
        _sealed("sealed"),
        _text("state"),
        *_decided(),
        _id("batch_id", nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'taken', 'kept', 'obsolete')", name=op.f("ck_field_conflict_state")),
        sa.CheckConstraint("(state = 'waiting') = (decided_at IS NULL)", name=op.f("ck_field_conflict_decided")),
        _of("source_row_id", "source_row", "fk_field_conflict_source_row"),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_field_conflict")),
    )
    op.create_index(
        "uq_field_conflict_waiting",
        "field_conflict",
        ["district_code", "subject_id", "field", "source"],
        unique=True,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_field_conflict_waiting",
        "field_conflict",
        ["district_code", "field", "source", "id"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_field_conflict_row", "field_conflict", ["district_code", "source_row_id"])
    op.create_index(
        "ix_field_conflict_batch",
        "field_conflict",
        ["district_code", "batch_id"],
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
