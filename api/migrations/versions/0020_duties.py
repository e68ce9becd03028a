"""Who answers for which of the nine duties in which cell, hand-overs, and notices to people with an account.

A row of `cell_duty` is never changed but for being ended earlier than it was to end; one that never took effect ends
where it begins. The exclusion constraint lets nobody hold what somebody else holds at the same time.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, ROLE, program, shelter

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_MINE = "account_id::text = current_setting('wangge.actor', true)"
_INSTANT = postgresql.TIMESTAMP(timezone=True)


def _accounts() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["district_code", "account_id"], ["account.district_code", "account.id"])


def upgrade() -> None:
    """Make both tables, the constraint over time, and the lock on history."""
    # Trusted since PostgreSQL 13: the owner of the database may make it without being superuser.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "cell_duty",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("cell_code", sa.String(), nullable=False),
        sa.Column("duty", sa.String(), nullable=False),
        sa.Column("rank", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid()),
        sa.Column("unit_code", sa.String()),
        sa.Column("valid_from", _INSTANT, nullable=False),
        sa.Column("valid_to", _INSTANT),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False, server_default=""),
        sa.Column("exception", sa.String(), nullable=False, server_default=""),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.Column("ended_at", _INSTANT),
        sa.Column("ended_by", sa.String()),
        sa.Column("ended_why", sa.String(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("district_code", "id"),
        _accounts(),
        sa.ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),
        sa.CheckConstraint(
            "duty IN ('census', 'security', 'labour', 'civil_affairs', 'family_planning', 'urban_management',"
            " 'market', 'safety', 'floating_population')",
            name="duty",
        ),
        sa.CheckConstraint("rank IN ('primary', 'deputy', 'stand_in')", name="rank"),
        sa.CheckConstraint("num_nonnulls(account_id, unit_code) = 1", name="holder"),
        sa.CheckConstraint("valid_to >= valid_from", name="span"),
        sa.CheckConstraint("rank <> 'stand_in' OR valid_to IS NOT NULL", name="stand_in_ends"),
        postgresql.ExcludeConstraint(
            (sa.column("district_code"), "="),
            (sa.column("cell_code"), "="),
            (sa.column("duty"), "="),
            (sa.column("rank"), "="),
            (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
            name="ex_cell_duty_one_at_a_time",
            using="gist",
        ),
    )
    op.create_index("ix_cell_duty_account_id", "cell_duty", ["district_code", "account_id"])
    op.create_index("ix_cell_duty_cell_code", "cell_duty", ["district_code", "cell_code"])
    op.execute(
        "CREATE FUNCTION keep_duty_history() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE"
        " free text[] := ARRAY['valid_to', 'ended_at', 'ended_by', 'ended_why']; BEGIN"
        " IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - free = to_jsonb(OLD) - free AND NEW.valid_to IS NOT NULL"
        " AND (OLD.valid_to IS NULL OR NEW.valid_to < OLD.valid_to) THEN RETURN NEW; END IF;"
        " RAISE EXCEPTION 'cell_duty keeps its history' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER keeps_history BEFORE UPDATE OR DELETE ON cell_duty"
        " FOR EACH ROW EXECUTE FUNCTION keep_duty_history()"
    )
    shelter("cell_duty", reads=f"{ROLE} <> 'citizen'", writes=f"{KEEPS} OR {ROLE} IN ('supervisor', 'unit')")
    op.create_table(
        "account_notice",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("params", postgresql.JSONB(), nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("seen_at", _INSTANT),
        sa.PrimaryKeyConstraint("district_code", "id"),
        sa.UniqueConstraint("district_code", "account_id", "key", name="uq_account_notice_key"),
        _accounts(),
    )
    shelter("account_notice", reads=f"{ROLE} = 'system' OR {_MINE}", writes=f"{ROLE} = 'system' OR {_MINE}")


def downgrade() -> None:
    """Drop both; the extension stays, for others may use it."""
    for table in ("account_notice", "cell_duty"):
        op.execute(f"REVOKE ALL ON {table} FROM {program()}")
        op.drop_table(table)
    op.execute("DROP FUNCTION keep_duty_history()")
