"""Applications: materials, debts, surveys, fees, hand-overs; and requests for government information.

Revision ID: 0008
Revises: 0007
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import SEES_PART, WRITES, shelter

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_CASE = (["district_code", "case_id"], ["cases.district_code", "cases.id"])
_INSTANT = postgresql.TIMESTAMP(timezone=True)
#: Parts of a case that are keyed by an id of their own, in the order of making.
_PARTS = ("application_material", "material_file", "survey", "fee", "handover")


def _word(name: str, *, default: str | None = None, empty: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), server_default=default, nullable=empty)


def _part(table: str, *columns: sa.Column[Any] | sa.CheckConstraint) -> None:
    """Make a table whose rows hang on a case."""
    op.create_table(
        table,
        _word("district_code"),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        *columns,
        sa.ForeignKeyConstraint(*_CASE, name=op.f(f"fk_{table}_cases")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f(f"pk_{table}")),
    )


def _instant(name: str, *, empty: bool = False) -> sa.Column[object]:
    return sa.Column(name, _INSTANT, nullable=empty)


def _json(name: str, *, default: str | None = None) -> sa.Column[object]:
    return sa.Column(name, postgresql.JSONB(), server_default=sa.text(default) if default else None, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text("false"), nullable=False)


def upgrade() -> None:
    """Make the tables; each is read with its case."""
    _application()
    _request()
    _part(
        "application_material",
        _word("code"),
        _word("state"),
        _instant("given_at", empty=True),
        _word("why", default=""),
        _instant("owed_until", empty=True),
        _instant("settled_at", empty=True),
        sa.Column("source_case_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "state IN ('missing', 'given', 'shared', 'checked', 'rejected', 'owed')",
            name=op.f("ck_application_material_state"),
        ),
        sa.CheckConstraint("state <> 'owed' OR owed_until IS NOT NULL", name=op.f("ck_application_material_owed")),
    )
    op.create_index(
        "uq_application_material_code", "application_material", ["district_code", "case_id", "code"], unique=True
    )
    _part(
        "material_file",
        _word("code"),
        _word("sha256"),
        _word("media_type"),
        sa.Column("size", sa.Integer(), nullable=False),
        _word("name"),
        _instant("created_at"),
        sa.CheckConstraint("size > 0", name=op.f("ck_material_file_size")),
    )
    _part(
        "survey",
        _json("units"),
        _instant("set_for"),
        _word("place"),
        _instant("called_at"),
        _word("called_by"),
        _instant("recorded_at", empty=True),
        _word("recorded_by", empty=True),
        _word("result", empty=True),
        _word("record", default=""),
        sa.CheckConstraint("result IN ('pass', 'fail')", name=op.f("ck_survey_result")),
        sa.CheckConstraint("(recorded_at IS NULL) = (result IS NULL)", name=op.f("ck_survey_recorded")),
    )
    _part(
        "fee",
        sa.Column("cents", sa.Integer(), nullable=False),
        _word("basis"),
        sa.Column("waived_percent", sa.SmallInteger(), nullable=False),
        _word("waiver"),
        _word("paid_reference"),
        _instant("recorded_at"),
        _word("recorded_by"),
        sa.CheckConstraint("cents >= 0", name=op.f("ck_fee_cents")),
        sa.CheckConstraint("waived_percent BETWEEN 0 AND 100", name=op.f("ck_fee_waived")),
    )
    _part(
        "handover",
        _word("level"),
        _instant("sent_at"),
        _word("sent_by"),
        _word("reference"),
        _instant("returned_at", empty=True),
        _word("decision", empty=True),
        _word("their_reference", default=""),
        sa.CheckConstraint("level IN ('city', 'province')", name=op.f("ck_handover_level")),
        sa.CheckConstraint("decision IN ('agreed', 'refused', 'returned')", name=op.f("ck_handover_decision")),
        sa.CheckConstraint("(returned_at IS NULL) = (decision IS NULL)", name=op.f("ck_handover_returned")),
    )
    for table in ("material_file", "survey", "fee", "handover"):
        op.create_index(f"ix_{table}_case", table, ["district_code", "case_id"])
    for index, table, open_where in (
        ("uq_survey_open", "survey", "recorded_at IS NULL"),
        ("uq_handover_out", "handover", "returned_at IS NULL"),
    ):
        op.create_index(index, table, ["district_code", "case_id"], unique=True, postgresql_where=sa.text(open_where))
    for table in ("application", "information_request", "application_material", "survey", "handover"):
        shelter(table, reads=SEES_PART, writes=WRITES)
    # What was handed in and what was charged stays as it was recorded.
    for table in ("material_file", "fee"):
        shelter(table, reads=SEES_PART, writes=WRITES, privileges="SELECT, INSERT")


def _application() -> None:
    op.create_table(
        "application",
        _word("district_code"),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        _word("item_code"),
        sa.Column("item_version", sa.Integer(), nullable=False),
        _word("applicant_kind"),
        sa.Column("id_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("id_index", sa.LargeBinary(), nullable=False),
        sa.Column("agent_name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("agent_phone_sealed", sa.LargeBinary(), nullable=True),
        _word("pickup_place"),
        _flag("green"),
        _word("green_why", default=""),
        _flag("consent"),
        _word("credit_class", default=""),
        _json("facts"),
        _json("verdict"),
        _json("form"),
        _instant("told_at", empty=True),
        _json("told", default="'[]'"),
        _instant("accepted_at", empty=True),
        _word("outcome", empty=True),
        _instant("decided_at", empty=True),
        _word("decision_number", default=""),
        _word("valid_until", default=""),
        _flag("after_check"),
        _flag("at_once"),
        sa.CheckConstraint("applicant_kind IN ('person', 'organisation')", name=op.f("ck_application_applicant_kind")),
        sa.CheckConstraint("outcome IN ('granted', 'denied')", name=op.f("ck_application_outcome")),
        sa.ForeignKeyConstraint(*_CASE, name=op.f("fk_application_cases")),
        sa.ForeignKeyConstraint(
            ["district_code", "item_code", "item_version"],
            ["item_version.district_code", "item_version.item_code", "item_version.version"],
            name=op.f("fk_application_item_version"),
        ),
        sa.PrimaryKeyConstraint("district_code", "case_id", name=op.f("pk_application")),
    )
    op.create_index("ix_application_id_index", "application", ["district_code", "id_index"])
    op.create_index("ix_application_item", "application", ["district_code", "item_code"])


def _request() -> None:
    op.create_table(
        "information_request",
        _word("district_code"),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        _word("applicant_kind"),
        sa.Column("id_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("id_index", sa.LargeBinary(), nullable=False),
        _word("wanted"),
        _word("how"),
        _instant("counts_from"),
        _instant("told_at", empty=True),
        _word("told", default=""),
        _word("reply_kind", empty=True),
        sa.CheckConstraint(
            "applicant_kind IN ('person', 'organisation')", name=op.f("ck_information_request_applicant_kind")
        ),
        sa.CheckConstraint(
            "how IN ('paper', 'electronic', 'post', 'inspect')", name=op.f("ck_information_request_how")
        ),
        sa.ForeignKeyConstraint(*_CASE, name=op.f("fk_information_request_cases")),
        sa.PrimaryKeyConstraint("district_code", "case_id", name=op.f("pk_information_request")),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in (*reversed(_PARTS), "information_request", "application"):
        op.drop_table(table)
