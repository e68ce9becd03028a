"""Training cards, quizzes and certificates.

Question banks and attempts are only added; a certificate is never changed but for being revoked.

Revision ID: 0026
Revises: 0025
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, ROLE, append_only, program, shelter

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_MINE = "account_id::text = current_setting('wangge.actor', true)"
_OFFICE = f"{ROLE} IN ('system', 'admin', 'supervisor', 'unit', 'official')"
_INSTANT = postgresql.TIMESTAMP(timezone=True)


def _accounts() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["district_code", "account_id"], ["account.district_code", "account.id"])


def _banks() -> None:
    op.create_table(
        "training_bank",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("duty", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("body", postgresql.JSONB(), nullable=False),
        sa.Column("loaded_at", _INSTANT, nullable=False),
        sa.Column("loaded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "id"),
    )
    op.create_index("ix_training_bank_duty", "training_bank", ["district_code", "duty", "id"])
    shelter("training_bank", reads="true", writes=KEEPS, privileges="SELECT, INSERT")
    append_only("training_bank")


def _attempts() -> None:
    op.create_table(
        "training_attempt",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("duty", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("bank_digest", sa.String(), nullable=False),
        sa.Column("questions", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("answers", postgresql.JSONB(), nullable=False),
        sa.Column("right_count", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("happened_at", _INSTANT, nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("district_code", "id"),
        sa.UniqueConstraint("district_code", "account_id", "duty", "number", name="uq_training_attempt_number"),
        sa.UniqueConstraint("district_code", "account_id", "key", name="uq_training_attempt_key"),
        _accounts(),
    )
    shelter(
        "training_attempt",
        reads=f"{_OFFICE} OR {_MINE}",
        writes=f"{ROLE} = 'system' OR {_MINE}",
        privileges="SELECT, INSERT",
    )
    append_only("training_attempt")


def _certificates() -> None:
    op.create_table(
        "training_certificate",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("check_code", sa.String(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("duty", sa.String(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("holder_name", sa.String(), nullable=False),
        sa.Column("issued_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
        sa.Column("revoked_at", _INSTANT),
        sa.Column("revoked_by", sa.String()),
        sa.Column("revoked_why", sa.String(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("district_code", "number"),
        sa.CheckConstraint("expires_at > issued_at", name="span"),
        sa.ForeignKeyConstraint(
            ["district_code", "attempt_id"], ["training_attempt.district_code", "training_attempt.id"]
        ),
        _accounts(),
    )
    op.create_index("ix_training_certificate_account_id", "training_certificate", ["district_code", "account_id"])
    op.execute(
        "CREATE FUNCTION keep_certificate() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE"
        " free text[] := ARRAY['revoked_at', 'revoked_by', 'revoked_why']; BEGIN"
        " IF TG_OP = 'UPDATE' AND OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL"
        " AND to_jsonb(NEW) - free = to_jsonb(OLD) - free THEN RETURN NEW; END IF;"
        " RAISE EXCEPTION 'a certificate is only revoked' USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER keeps_certificate BEFORE UPDATE OR DELETE ON training_certificate"
        " FOR EACH ROW EXECUTE FUNCTION keep_certificate()"
    )
    shelter("training_certificate", reads=f"{_OFFICE} OR {_MINE}", writes=f"{KEEPS} OR {ROLE} = 'supervisor'")


def upgrade() -> None:
    """Make the tables of banks, attempts and certificates."""
    _banks()
    _attempts()
    _certificates()


def downgrade() -> None:
    """Drop them."""
    for table in ("training_certificate", "training_attempt", "training_bank"):
        op.execute(f"REVOKE ALL ON {table} FROM {program()}")
        op.drop_table(table)
    op.execute("DROP FUNCTION keep_certificate()")
