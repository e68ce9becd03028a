"""Tables for Weibo mentions and their answers.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from api.migrations.guards import ROLE, append_only, shelter

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_TABLES = ("mention_event", "mention", "weibo_cursor")
#: Posts belong to no town: whoever answers for the channel reads them.
_DESK = f"{ROLE} IN ('system', 'operator', 'supervisor')"
_STATES = "state IN ('received', 'held', 'case', 'joined', 'rejected', 'replied', 'deleted')"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "mention",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("post_id", sa.String(), nullable=False),
        sa.Column("root_id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("author_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("author_index", sa.LargeBinary(), nullable=True),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("root_text", sa.String(), server_default="", nullable=False),
        sa.Column("cut", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("posted_at", _INSTANT, nullable=False),
        sa.Column("seen_at", _INSTANT, nullable=False),
        sa.Column("lng", sa.Float(), nullable=True),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("datum", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("hold", postgresql.JSONB(), nullable=True),
        sa.Column("held_at", _INSTANT, nullable=True),
        sa.Column("reviewed_at", _INSTANT, nullable=True),
        sa.Column("reviewer", sa.String(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("opened_at", _INSTANT, nullable=True),
        sa.Column("edited_at", _INSTANT, nullable=True),
        sa.Column("deleted_at", _INSTANT, nullable=True),
        sa.Column("reply", sa.String(), nullable=True),
        sa.Column("tried_at", _INSTANT, nullable=True),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", _INSTANT, nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("replied_at", _INSTANT, nullable=True),
        sa.Column("comment_id", sa.String(), nullable=True),
        sa.CheckConstraint(_STATES, name=op.f("ck_mention_state")),
        sa.CheckConstraint("state NOT IN ('case', 'joined') OR case_id IS NOT NULL", name=op.f("ck_mention_has_case")),
        sa.CheckConstraint("state <> 'replied' OR replied_at IS NOT NULL", name=op.f("ck_mention_replied")),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_mention_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_mention")),
        sa.UniqueConstraint("district_code", "post_id", name=op.f("uq_mention_district_code_post_id")),
    )
    waiting = sa.text("state = 'received'")
    op.create_index("ix_mention_waiting", "mention", ["district_code", "posted_at", "id"], postgresql_where=waiting)
    op.create_index("ix_mention_state", "mention", ["district_code", "state", "id"])
    op.create_index("ix_mention_root", "mention", ["district_code", "root_id", "id"])
    op.create_index("ix_mention_author", "mention", ["district_code", "author_index", "posted_at"])
    has_case = sa.text("case_id IS NOT NULL")
    op.create_index("ix_mention_case", "mention", ["district_code", "case_id"], postgresql_where=has_case)
    op.create_index("ix_mention_seen", "mention", ["district_code", "seen_at"])
    op.create_table(
        "mention_event",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("mention_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_name", sa.String(), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("detail", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "mention_id"],
            ["mention.district_code", "mention.id"],
            name=op.f("fk_mention_event_mention"),
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_mention_event")),
    )
    op.create_index("ix_mention_event_mention", "mention_event", ["district_code", "mention_id"])
    op.create_table(
        "weibo_cursor",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("since_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("top_id", sa.BigInteger(), nullable=True),
        sa.Column("low_id", sa.BigInteger(), nullable=True),
        sa.Column("fetched_at", _INSTANT, nullable=True),
        sa.Column("next_at", _INSTANT, nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("failed_since", _INSTANT, nullable=True),
        sa.Column("fails", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "part", name=op.f("pk_weibo_cursor")),
    )
    shelter("mention", reads=_DESK, writes=_DESK)
    shelter("mention_event", reads=_DESK, writes=_DESK, privileges="SELECT, INSERT")
    append_only("mention_event")
    shelter("weibo_cursor", reads=_DESK, writes=f"{ROLE} = 'system'")


def downgrade() -> None:
    """Drop the tables."""
    for table in _TABLES:
        op.drop_table(table)
