"""Tables for drafts, articles and the queue of the desk, and for hot matters.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

from api.migrations.guards import ROLE, TOWN, append_only, shelter

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    _hot_matters()
    _drafts()
    _handling()
    _articles()
    _imports()


def downgrade() -> None:
    """Drop them."""
    for table in ("import_row", "import_run", "article_use", "article", "handling", "draft"):
        op.drop_table(table)
    op.drop_table("hot_member")
    op.drop_table("hot_matter")


def _hot_matters() -> None:
    op.create_table(
        "hot_matter",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("words", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("place", sa.String(), server_default="", nullable=False),
        sa.Column("town_code", sa.String(), nullable=True),
        sa.Column("geom", Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False), nullable=True),
        sa.Column("urgency", sa.String(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("reporters", sa.Integer(), nullable=False),
        sa.Column("first_at", _INSTANT, nullable=False),
        sa.Column("last_at", _INSTANT, nullable=False),
        sa.Column("crossed_at", _INSTANT, nullable=False),
        sa.Column("why", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(), server_default="new", nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("decisions", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.CheckConstraint("state IN ('new', 'watched', 'dismissed')", name=op.f("ck_hot_matter_state")),
        sa.CheckConstraint("members > 0 AND reporters > 0", name=op.f("ck_hot_matter_counts")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_hot_matter")),
    )
    op.create_index("ix_hot_matter_last", "hot_matter", ["district_code", "last_at"])
    op.create_table(
        "hot_member",
        sa.Column("district_code", sa.String(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("hot_id", sa.Uuid(), nullable=False),
        sa.Column("joined_at", _INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["district_code", "hot_id"],
            ["hot_matter.district_code", "hot_matter.id"],
            name=op.f("fk_hot_member_hot_matter"),
        ),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_hot_member_cases")
        ),
        sa.PrimaryKeyConstraint("district_code", "case_id", name=op.f("pk_hot_member")),
    )
    op.create_index("ix_hot_member_hot", "hot_member", ["district_code", "hot_id"])
    centre = f"{ROLE} IN ('system', 'operator', 'supervisor')"
    # A person of one town sees the matters of that town; a matter of no town is the district's.
    shelter(
        "hot_matter", reads=f"({centre} OR {ROLE} = 'official') AND ({TOWN} = '' OR town_code = {TOWN})", writes=centre
    )
    # Ids alone: what a case says is guarded where it stands. An update moves a case from one matter to another.
    shelter("hot_member", reads=f"{centre} OR {ROLE} = 'official'", writes=centre)


_CENTRE = f"{ROLE} IN ('system', 'operator', 'supervisor')"
_ACTOR = "current_setting('wangge.actor', true)"


def _district() -> sa.Column[str]:
    return sa.Column("district_code", sa.String(), nullable=False)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(), server_default=default, nullable=False)


def _drafts() -> None:
    op.create_table(
        "draft",
        _district(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        _text("key"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("saved_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_draft")),
        sa.UniqueConstraint("district_code", "account_id", "key", name=op.f("uq_draft_district_code_account_id_key")),
    )
    # What somebody has not sent yet is nobody else's business; the program only throws old ones away.
    own = f"({ROLE} = 'operator' AND account_id::text = {_ACTOR}) OR {ROLE} = 'system'"
    shelter("draft", reads=own, writes=own, privileges="SELECT, INSERT, UPDATE, DELETE")


def _handling() -> None:
    op.create_table(
        "handling",
        _district(),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        _text("name"),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("until", _INSTANT, nullable=False),
        _text("taken_from", ""),
        _text("word", ""),
        sa.PrimaryKeyConstraint("district_code", "case_id", name=op.f("pk_handling")),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_handling_cases")
        ),
    )
    op.create_index("ix_handling_account", "handling", ["district_code", "account_id"])
    shelter("handling", reads=_CENTRE, writes=_CENTRE, privileges="SELECT, INSERT, UPDATE, DELETE")


def _articles() -> None:
    op.create_table(
        "article",
        _district(),
        sa.Column("no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        _text("title"),
        _text("body"),
        _text("category_code", ""),
        _text("unit_code", ""),
        _text("keywords", ""),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("review_on", sa.Date(), nullable=False),
        sa.Column("retired", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("example", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("terms", postgresql.TSVECTOR(), nullable=False),
        _text("edited_name"),
        sa.Column("edited_at", _INSTANT, nullable=False),
        sa.CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name=op.f("ck_article_validity")),
        sa.CheckConstraint("no > 0 AND version > 0", name=op.f("ck_article_counts")),
        sa.PrimaryKeyConstraint("district_code", "no", "version", name=op.f("pk_article")),
    )
    current = sa.text("current")
    op.create_index("uq_article_current", "article", ["district_code", "no"], unique=True, postgresql_where=current)
    op.create_index("ix_article_review", "article", ["district_code", "review_on"], postgresql_where=current)
    op.create_index("ix_article_terms", "article", ["terms"], postgresql_using="gin", postgresql_where=current)
    staff = f"{_CENTRE} OR {ROLE} IN ('unit', 'grid_worker', 'official', 'admin')"
    shelter("article", reads=staff, writes=f"{ROLE} IN ('system', 'supervisor', 'admin')")
    op.create_table(
        "article_use",
        _district(),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        _text("actor_name"),
        sa.Column("at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("district_code", "case_id", "no", "version", name=op.f("pk_article_use")),
        sa.ForeignKeyConstraint(
            ["district_code", "case_id"], ["cases.district_code", "cases.id"], name=op.f("fk_article_use_cases")
        ),
        sa.ForeignKeyConstraint(
            ["district_code", "no", "version"],
            ["article.district_code", "article.no", "article.version"],
            name=op.f("fk_article_use_article"),
        ),
    )
    op.create_index("ix_article_use_article", "article_use", ["district_code", "no", "version"])
    shelter("article_use", reads=_CENTRE, writes=_CENTRE, privileges="SELECT, INSERT")
    append_only("article_use")


def _imports() -> None:
    op.create_table(
        "import_run",
        _district(),
        sa.Column("id", sa.Uuid(), nullable=False),
        _text("digest"),
        _text("name"),
        _text("state"),
        sa.Column("total", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in ("done", "taken", "repeated", "refused")
        ),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("asked_by", sa.Uuid(), nullable=True),
        _text("asked_name"),
        sa.Column("asked_at", _INSTANT, nullable=False),
        sa.Column("finished_at", _INSTANT, nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'cancelled', 'failed')", name=op.f("ck_import_run_state")
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_import_run")),
        sa.UniqueConstraint("district_code", "digest", name=op.f("uq_import_run_district_code_digest")),
    )
    running = sa.text("finished_at IS NULL")
    op.create_index("ix_import_run_open", "import_run", ["district_code", "asked_at"], postgresql_where=running)
    op.create_table(
        "import_row",
        _district(),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        _text("reason"),
        sa.Column("params", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("district_code", "run_id", "row", name=op.f("pk_import_row")),
        sa.ForeignKeyConstraint(
            ["district_code", "run_id"],
            ["import_run.district_code", "import_run.id"],
            name=op.f("fk_import_row_import_run"),
        ),
    )
    keeps = f"{ROLE} IN ('system', 'supervisor')"
    shelter("import_run", reads=keeps, writes=keeps)
    shelter("import_row", reads=keeps, writes=keeps, privileges="SELECT, INSERT")
