"""Cells with validity, and planned changes of the grid.

The versions of today's cells are written here from `cell`, valid from the district's last load, before the lock on
shared ground exists: a district whose given cells overlap can still be brought up, and is told at its next change.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

from api.migrations.guards import KEEPS, ROLE, append_only, program, shelter
from core.ids import new_id

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
_TABLES = ("cell_change_entry", "cell_lineage", "cell_version", "cell_draft", "cell_change")
_CELL_KINDS = "kind IN ('residential', 'commercial', 'industrial', 'mixed')"
#: Ground in common that is more than rounding: over 1 m² and wider than 2 cm on average. District and time are compared
#: so that no index serves them: almost every version shares both, and a plan that begins there compares all with all.
_SHARED = (
    "CREATE FUNCTION refuse_shared_ground() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM"
    " CURRENT AS $$ DECLARE met record; BEGIN"
    " SELECT p.one, p.other INTO met FROM ("
    "  SELECT n.code AS one, v.code AS other, ST_CollectionExtract(ST_Intersection(n.geom, v.geom), 3) AS g"
    "  FROM added AS n JOIN cell_version AS v ON v.geom && n.geom AND v.district_code || '' = n.district_code"
    "   AND NOT isempty(v.validity * n.validity) AND v.id <> n.id"
    "   AND (v.id < n.id OR v.id NOT IN (SELECT a.id FROM added AS a))) AS p"
    " WHERE ST_Area(p.g) > 5e-11 AND ST_Area(p.g::geography) > 1"
    "  AND 2 * ST_Area(p.g::geography) > 0.02 * ST_Perimeter(p.g::geography) LIMIT 1;"
    " IF FOUND THEN RAISE EXCEPTION 'cells % and % share ground at the same time', met.one, met.other"
    "  USING ERRCODE = 'exclusion_violation'; END IF; RETURN NULL; END $$"
)
#: A version is written once and ended once; its ground and its beginning stay.
_KEEPS_VERSION = (
    "CREATE FUNCTION keep_cell_version() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE"
    " free text[] := ARRAY['validity', 'ended_by']; BEGIN"
    " IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - free = to_jsonb(OLD) - free AND NEW.geom = OLD.geom"
    " AND OLD.ended_by IS NULL AND NEW.ended_by IS NOT NULL AND NEW.validity <@ OLD.validity"
    " AND (isempty(NEW.validity) OR lower(NEW.validity) = lower(OLD.validity)) THEN RETURN NEW; END IF;"
    " RAISE EXCEPTION 'cell_version keeps its history' USING ERRCODE = 'restrict_violation'; END $$"
)


def _code() -> sa.Column[str]:
    return sa.Column("district_code", sa.String(), nullable=False)


def _of_change(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["district_code", "change_id"],
        ["cell_change.district_code", "cell_change.id"],
        name=op.f(f"fk_{table}_cell_change"),
    )


def _of_version(column: str, name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["district_code", column], ["cell_version.district_code", "cell_version.id"], name=op.f(name)
    )


def _ground() -> list[sa.Column[object]]:
    """Return the columns that a draft and a version have in common."""
    return [
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("community_code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("households", sa.Integer()),
        sa.Column("estimated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("derived", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("geom", Geometry("MULTIPOLYGON", srid=4490, dimension=2, spatial_index=False), nullable=False),
    ]


def upgrade() -> None:
    """Make the tables, write today's versions, then set the locks."""
    _make_changes()
    _make_versions()
    _write_todays()
    op.execute(_SHARED)
    op.execute(
        "CREATE TRIGGER cell_version_ground AFTER INSERT ON cell_version REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_shared_ground()"
    )
    op.execute(_KEEPS_VERSION)
    op.execute(
        "CREATE TRIGGER keeps_history BEFORE UPDATE OR DELETE ON cell_version"
        " FOR EACH ROW EXECUTE FUNCTION keep_cell_version()"
    )
    append_only("cell_change_entry")
    append_only("cell_lineage")
    staff = f"{ROLE} <> 'citizen'"
    shelter("cell_change", reads=staff, writes=KEEPS)
    shelter("cell_draft", reads=staff, writes=KEEPS, privileges="SELECT, INSERT")
    shelter("cell_version", reads="true", writes=KEEPS)
    shelter("cell_lineage", reads=staff, writes=KEEPS, privileges="SELECT, INSERT")
    shelter("cell_change_entry", reads=staff, writes=KEEPS, privileges="SELECT, INSERT")


def _make_changes() -> None:
    op.create_table(
        "cell_change",
        _code(),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("communities", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("document", sa.String(), server_default="", nullable=False),
        sa.Column("file", postgresql.JSONB()),
        sa.Column("valid_from", _INSTANT, nullable=False),
        sa.Column("bare", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("seen", postgresql.JSONB(), nullable=False),
        sa.Column("unit_code", sa.String(), server_default="", nullable=False),
        sa.Column("planned_by", sa.Uuid()),
        sa.Column("planned_name", sa.String(), nullable=False),
        sa.Column("planned_at", _INSTANT, nullable=False),
        sa.Column("applied_at", _INSTANT),
        sa.CheckConstraint(
            "kind IN ('split', 'merge', 'redraw', 'void', 'new', 'describe', 'load')", name=op.f("ck_cell_change_kind")
        ),
        sa.CheckConstraint(
            "state IN ('proposed', 'planned', 'applied', 'cancelled', 'refused')", name=op.f("ck_cell_change_state")
        ),
        sa.CheckConstraint("(state = 'applied') = (applied_at IS NOT NULL)", name=op.f("ck_cell_change_applied")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_cell_change")),
    )
    due = sa.text("state = 'planned'")
    op.create_index("ix_cell_change_due", "cell_change", ["district_code", "valid_from", "id"], postgresql_where=due)
    op.create_index("ix_cell_change_listed", "cell_change", ["district_code", "id"])
    op.create_table(
        "cell_draft",
        _code(),
        sa.Column("change_id", sa.Uuid(), nullable=False),
        *_ground(),
        sa.CheckConstraint(_CELL_KINDS, name=op.f("ck_cell_draft_kind")),
        _of_change("cell_draft"),
        sa.PrimaryKeyConstraint("district_code", "change_id", "code", name=op.f("pk_cell_draft")),
    )
    op.create_index("ix_cell_draft_geom", "cell_draft", ["geom"], postgresql_using="gist")
    op.create_table(
        "cell_change_entry",
        _code(),
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("actor_id", sa.Uuid()),
        sa.Column("actor_name", sa.String(), nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        _of_change("cell_change_entry"),
        sa.PrimaryKeyConstraint("district_code", "change_id", "seq", name=op.f("pk_cell_change_entry")),
    )


def _make_versions() -> None:
    op.create_table(
        "cell_version",
        _code(),
        sa.Column("id", sa.Uuid(), nullable=False),
        *_ground(),
        sa.Column("validity", postgresql.TSTZRANGE(), nullable=False),
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("ended_by", sa.Uuid()),
        sa.CheckConstraint(_CELL_KINDS, name=op.f("ck_cell_version_kind")),
        _of_change("cell_version"),
        sa.ForeignKeyConstraint(
            ["district_code", "ended_by"],
            ["cell_change.district_code", "cell_change.id"],
            name="fk_cell_version_ended_by",
        ),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f("pk_cell_version")),
        postgresql.ExcludeConstraint(
            ("district_code", "="),
            ("code", "="),
            ("validity", "&&"),
            name="ex_cell_version_code",
            using="gist",
        ),
    )
    op.create_index("ix_cell_version_geom", "cell_version", ["geom"], postgresql_using="gist")
    op.create_index(
        "ix_cell_version_now",
        "cell_version",
        ["district_code", "community_code", "code"],
        postgresql_where=sa.text("ended_by IS NULL"),
    )
    op.create_index("ix_cell_version_change", "cell_version", ["district_code", "change_id"])
    op.create_table(
        "cell_lineage",
        _code(),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("shared_m2", sa.Float(), nullable=False),
        _of_change("cell_lineage"),
        _of_version("version_id", "fk_cell_lineage_cell_version"),
        _of_version("parent_id", "fk_cell_lineage_parent"),
        sa.PrimaryKeyConstraint("district_code", "version_id", "parent_id", name=op.f("pk_cell_lineage")),
    )
    op.create_index("ix_cell_lineage_parent", "cell_lineage", ["district_code", "parent_id"])


def _write_todays() -> None:
    """Give every cell that stands there a version, valid from the district's last load."""
    bind = op.get_bind()
    of_districts = sa.text(
        "SELECT DISTINCT c.district_code FROM cell AS c JOIN district AS d USING (district_code) ORDER BY 1"
    )
    for district in list(bind.scalars(of_districts)):
        known = {"d": district, "change": new_id()}
        bind.execute(
            sa.text(
                "INSERT INTO cell_change (district_code, id, kind, state, reason, valid_from, seen, planned_name,"
                " planned_at, applied_at) SELECT :d, :change, 'load', 'applied', '', s.at, '{}', 'loader', s.at, s.at"
                " FROM (SELECT coalesce(d.loaded_at, timestamptz '2000-01-01 00:00+00') AS at FROM district AS d"
                " WHERE d.district_code = :d) AS s"
            ),
            known,
        )
        codes = list(bind.scalars(sa.text("SELECT code FROM cell WHERE district_code = :d ORDER BY code"), known))
        bind.execute(
            sa.text(
                "INSERT INTO cell_version (district_code, id, code, community_code, kind, households, derived, geom,"
                " validity, change_id) SELECT :d, s.id, c.code, c.community_code, c.kind, c.households, c.derived,"
                " c.geom, tstzrange(g.valid_from, NULL), g.id"
                " FROM unnest(CAST(:codes AS text[]), CAST(:ids AS uuid[])) AS s(code, id)"
                " JOIN cell AS c ON c.district_code = :d AND c.code = s.code"
                " JOIN cell_change AS g ON g.district_code = :d AND g.id = :change"
            ),
            known | {"codes": codes, "ids": [new_id() for _ in codes]},
        )


def downgrade() -> None:
    """Drop what came."""
    for table in _TABLES:
        op.execute(f"REVOKE ALL ON {table} FROM {program()}")
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_shared_ground()")
    op.execute("DROP FUNCTION keep_cell_version()")
