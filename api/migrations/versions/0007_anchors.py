"""The daily anchor over a district's log.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import ROLE, WIDE, append_only, program, shelter

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

#: The district's anchors are read past the row policies: whoever appends an entry may not read them.
_REFUSE_SEALED = """
CREATE FUNCTION refuse_sealed_day() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM public.anchor
         WHERE district_code = NEW.district_code
           AND day >= (NEW.recorded_at AT TIME ZONE 'Asia/Shanghai')::date
    ) THEN
        RAISE EXCEPTION 'the log of this day is anchored' USING ERRCODE = 'WG001';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Make the table of anchors and close anchored days to new entries."""
    op.create_table(
        "anchor",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "day", name=op.f("pk_anchor")),
    )
    shelter("anchor", reads=WIDE, writes=f"{ROLE} = 'system'", privileges="SELECT, INSERT")
    append_only("anchor")
    op.execute(_REFUSE_SEALED)
    op.execute(f"REVOKE ALL ON FUNCTION refuse_sealed_day() FROM PUBLIC, {program()}")
    op.execute("CREATE TRIGGER sealed_day BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION refuse_sealed_day()")
    op.create_index(
        "ix_entry_late",
        "entry",
        ["district_code", "recorded_at"],
        postgresql_where=sa.text("late"),
    )


def downgrade() -> None:
    """Take the anchors away again."""
    op.drop_index("ix_entry_late", "entry")
    op.execute("DROP TRIGGER sealed_day ON entry")
    op.execute("DROP FUNCTION refuse_sealed_day()")
    op.drop_table("anchor")
