"""Residents, households, rooms, organisations, parts and key places.

Revision ID: 0023
Revises: 0022
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

from api.migrations.guards import DISTRICT, ROLE, TOWN, append_only, program, shelter

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_INSTANT = postgresql.TIMESTAMP(timezone=True)
#: Cells that the program found to be the actor's by duty, set for this transaction (`grid.registers.permissions`).
_OWN_CELL = (
    f"{ROLE} IN ('unit', 'grid_worker') AND strpos(current_setting('wangge.cells', true), ',' || cell_code || ',') > 0"
)
_IN_TOWN = f"({TOWN} = '' OR town_code = {TOWN})"
_KEEPERS = f"{ROLE} IN ('system', 'admin') AND {_IN_TOWN}"
#: People: who keeps them, who supervises that, and who has a duty in the cell.
_SEES_PEOPLE = f"({ROLE} IN ('system', 'admin', 'supervisor') AND {_IN_TOWN}) OR ({_OWN_CELL})"
#: Things that stand in the street: everybody who works for the district.
_SEES_THINGS = (
    f"{ROLE} IN ('system', 'admin', 'supervisor', 'operator', 'official', 'unit', 'grid_worker') AND {_IN_TOWN}"
)
_WRITES = f"({_KEEPERS}) OR ({_OWN_CELL})"
_SUBJECT = "subject_id::text = current_setting('wangge.subject', true)"


def upgrade() -> None:
    """Make the tables."""
    _rooms()
    _people()
    _things()
    _records()
    for table in ("household", "resident", "tenancy"):
        shelter(table, reads=_SEES_PEOPLE, writes=_WRITES)
    for table in ("building", "room", "organisation", "part", "key_place"):
        shelter(table, reads=_SEES_THINGS, writes=_WRITES)
    # What nobody needs any more is erased by the program, after the preview that a person confirmed.
    for table in ("household", "resident", "tenancy", "organisation", "key_place", "part", "room", "building"):
        op.execute(f"CREATE POLICY erases ON {table} FOR DELETE USING ({DISTRICT} AND {ROLE} = 'system')")
        op.execute(f"GRANT DELETE ON {table} TO {program()}")


def downgrade() -> None:
    """Drop them."""
    for table in (
        "legal_hold",
        "register_log",
        "register_slip",
        "register_opening",
        "life_event",
        "key_place",
        "part",
        "organisation",
        "tenancy",
        "resident",
        "household",
        "room",
        "building",
    ):
        op.drop_table(table)


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(), server_default=default, nullable=False)


def _maybe(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.String) -> sa.Column[object]:
    return sa.Column(name, kind(), nullable=True)


def _id(name: str = "id") -> sa.Column[object]:
    return sa.Column(name, sa.Uuid(), nullable=False)


def _at(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, _INSTANT, nullable=nullable)


def _placed() -> list[sa.schema.SchemaItem]:
    point = Geometry(geometry_type="POINT", srid=4490, dimension=2, spatial_index=False)
    return [
        _text("district_code"),
        _id(),
        _maybe("town_code"),
        _maybe("community_code"),
        _maybe("cell_code"),
        sa.Column("geom", point, nullable=True),
        _maybe("source_datum"),
        _maybe("source_lng", sa.Float),
        _maybe("source_lat", sa.Float),
    ]


def _kept() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        _text("state"),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        _text("source", "manual"),
        _at("created_at"),
        _at("changed_at"),
        _at("ended_at", nullable=True),
    ]


def _make(table: str, *columns: sa.schema.SchemaItem, states: tuple[str, ...], current: str) -> None:
    listed = ", ".join(f"'{name}'" for name in states)
    op.create_table(
        table,
        *_placed(),
        *_kept(),
        *columns,
        sa.CheckConstraint(f"state IN ({listed})", name=op.f(f"ck_{table}_state")),
        sa.PrimaryKeyConstraint("district_code", "id", name=op.f(f"pk_{table}")),
    )
    op.create_index(f"ix_{table}_cell", table, ["district_code", "cell_code", "id"], postgresql_where=sa.text(current))
    op.create_index(f"ix_{table}_geom", table, ["geom"], postgresql_using="gist")
    op.create_index(
        f"ix_{table}_ended", table, ["district_code", "ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL")
    )


def _check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _of(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["district_code", column], [f"{other}.district_code", f"{other}.id"], name=op.f(f"fk_{table}_{other}")
    )


def _index(name: str, table: str, columns: list[str], where: str | None = None, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, postgresql_where=sa.text(where) if where is not None else None)


def _rooms() -> None:
    _make(
        "building",
        _text("code", ""),
        _text("name"),
        _text("estate", ""),
        _text("address", ""),
        _text("kind"),
        _maybe("floors", sa.Integer),
        states=("standing", "gone"),
        current="state = 'standing'",
    )
    _index("uq_building_code", "building", ["district_code", "code"], "code <> ''", unique=True)
    _index("ix_building_name", "building", ["district_code", "estate", "name"])
    _make(
        "room",
        _id("building_id"),
        _text("entrance", ""),
        _text("number"),
        _maybe("floor", sa.Integer),
        _text("use"),
        _maybe("area_m2", sa.Integer),
        _of("room", "building_id", "building"),
        states=("there", "gone"),
        current="state = 'there'",
    )
    _index(
        "uq_room_name", "room", ["district_code", "building_id", "entrance", "number"], "state = 'there'", unique=True
    )


def _people() -> None:
    _make(
        "household",
        _maybe("room_id", sa.Uuid),
        _text("kind"),
        _maybe("head_id", sa.Uuid),
        _of("household", "room_id", "room"),
        states=("living", "moved"),
        current="state = 'living'",
    )
    _index("ix_household_room", "household", ["district_code", "room_id"])
    _make(
        "resident",
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("name_terms", postgresql.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        _text("id_kind", ""),
        _maybe("id_sealed", sa.LargeBinary),
        _maybe("id_index", sa.LargeBinary),
        _maybe("phone_sealed", sa.LargeBinary),
        _maybe("phone_index", sa.LargeBinary),
        _maybe("birth_date", sa.Date),
        _text("sex", ""),
        _text("residence"),
        _text("home_area", ""),
        _maybe("permit_until", sa.Date),
        sa.Column("care", postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False),
        _text("relation", ""),
        _maybe("household_id", sa.Uuid),
        _maybe("merged_into", sa.Uuid),
        _check("resident", "merged", "(state = 'merged') = (merged_into IS NOT NULL)"),
        _check("resident", "id_number", "(id_sealed IS NULL) = (id_index IS NULL)"),
        _check("resident", "phone", "(phone_sealed IS NULL) = (phone_index IS NULL)"),
        _check("resident", "sex", "sex IN ('', 'm', 'f')"),
        _of("resident", "household_id", "household"),
        _of("resident", "merged_into", "resident"),
        states=("living", "moved", "dead", "merged"),
        current="state = 'living'",
    )
    known, living = "id_index IS NOT NULL AND state <> 'merged'", "state = 'living'"
    _index("uq_resident_id_number", "resident", ["district_code", "id_index"], known, unique=True)
    _index("ix_resident_phone", "resident", ["district_code", "phone_index"], "phone_index IS NOT NULL")
    _index("ix_resident_household", "resident", ["district_code", "household_id"])
    _index("ix_resident_merged", "resident", ["district_code", "merged_into"], "merged_into IS NOT NULL")
    _index("ix_resident_birth", "resident", ["district_code", "birth_date", "id"], living)
    _index("ix_resident_care", "resident", ["district_code", "cell_code", "id"], f"{living} AND care <> '{{}}'")
    _make(
        "tenancy",
        _id("room_id"),
        sa.Column("landlord_name_sealed", sa.LargeBinary(), nullable=False),
        _maybe("landlord_phone_sealed", sa.LargeBinary),
        _maybe("landlord_phone_index", sa.LargeBinary),
        sa.Column("lease_from", sa.Date(), nullable=False),
        _maybe("lease_to", sa.Date),
        _text("filed_number", ""),
        _maybe("most_people", sa.Integer),
        _maybe("checked_on", sa.Date),
        _check("tenancy", "lease", "lease_to IS NULL OR lease_to >= lease_from"),
        _check("tenancy", "phone", "(landlord_phone_sealed IS NULL) = (landlord_phone_index IS NULL)"),
        _of("tenancy", "room_id", "room"),
        states=("let", "ended"),
        current="state = 'let'",
    )
    _index("uq_tenancy_room", "tenancy", ["district_code", "room_id"], "state = 'let'", unique=True)
    _index("ix_tenancy_lease", "tenancy", ["district_code", "lease_to", "id"], "state = 'let'")


def _things() -> None:
    _make(
        "organisation",
        _text("name"),
        _text("credit_code", ""),
        _text("kind"),
        _text("trade", ""),
        _text("address", ""),
        _maybe("room_id", sa.Uuid),
        _maybe("contact_sealed", sa.LargeBinary),
        _maybe("phone_sealed", sa.LargeBinary),
        _maybe("phone_index", sa.LargeBinary),
        _maybe("employees", sa.Integer),
        _check("organisation", "phone", "(phone_sealed IS NULL) = (phone_index IS NULL)"),
        _of("organisation", "room_id", "room"),
        states=("open", "closed"),
        current="state = 'open'",
    )
    _index(
        "uq_organisation_credit_code",
        "organisation",
        ["district_code", "credit_code"],
        "credit_code <> '' AND state = 'open'",
        unique=True,
    )
    by_beginning = {"name": "text_pattern_ops"}
    op.create_index("ix_organisation_name", "organisation", ["district_code", "name"], postgresql_ops=by_beginning)
    _make(
        "part",
        _text("code"),
        _text("class_code"),
        _text("name"),
        _text("unit_code", ""),
        _maybe("installed_on", sa.Date),
        _text("note", ""),
        _check("part", "removed", "(state = 'removed') = (ended_at IS NOT NULL)"),
        states=("sound", "damaged", "missing", "removed"),
        current="state <> 'removed'",
    )
    _index("uq_part_code", "part", ["district_code", "code"], unique=True)
    _index("ix_part_class", "part", ["district_code", "class_code", "id"])
    _make(
        "key_place",
        _text("name"),
        _text("kind"),
        _maybe("organisation_id", sa.Uuid),
        _text("address", ""),
        _text("risk"),
        _text("duty"),
        _maybe("inspected_on", sa.Date),
        sa.Column("every_days", sa.Integer(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        _check("key_place", "interval", "every_days BETWEEN 1 AND 3650"),
        _of("key_place", "organisation_id", "organisation"),
        states=("open", "closed"),
        current="state = 'open'",
    )
    _index("ix_key_place_due", "key_place", ["district_code", "due_on", "id"], "state = 'open'")


def _actor() -> list[sa.schema.SchemaItem]:
    return [_maybe("actor_id", sa.Uuid), _text("actor_name"), _text("actor_role"), _maybe("unit_code")]


def _record(table: str, *columns: sa.schema.SchemaItem, key: str = "id") -> None:
    op.create_table(table, *columns, sa.PrimaryKeyConstraint("district_code", key, name=op.f(f"pk_{table}")))


def _records() -> None:
    _record(
        "life_event",
        _text("district_code"),
        _id(),
        _text("register"),
        _id("subject_id"),
        _text("kind"),
        _at("happened_at"),
        _at("recorded_at"),
        *_actor(),
        _text("source"),
        sa.Column("data_sealed", sa.LargeBinary(), nullable=False),
        _maybe("undoes", sa.Uuid),
    )
    _index("ix_life_event_subject", "life_event", ["district_code", "subject_id", "id"])
    _record(
        "register_opening",
        _text("district_code"),
        _id(),
        _text("register"),
        _id("subject_id"),
        _text("field"),
        *_actor(),
        sa.Column("duties", postgresql.ARRAY(sa.String()), nullable=False),
        _text("reason_code"),
        sa.Column("reason_sealed", sa.LargeBinary(), nullable=False),
        _at("opened_at"),
        _at("expires_at"),
    )
    _index("ix_register_opening_subject", "register_opening", ["district_code", "subject_id", "opened_at"])
    _index("ix_register_opening_actor", "register_opening", ["district_code", "actor_id", "opened_at"])
    _record(
        "register_slip",
        _text("district_code"),
        sa.Column("code_index", sa.LargeBinary(), nullable=False),
        _id("subject_id"),
        _text("issued_by"),
        _at("issued_at"),
        _at("expires_at"),
        key="code_index",
    )
    _index("ix_register_slip_subject", "register_slip", ["district_code", "subject_id"])
    _record(
        "register_log",
        _text("district_code"),
        _id(),
        _text("kind"),
        _text("register", ""),
        *_actor(),
        _at("at"),
        sa.Column("data", postgresql.JSONB(), nullable=False),
    )
    _index("ix_register_log_newest", "register_log", ["district_code", "id"])
    _record(
        "legal_hold",
        _text("district_code"),
        _id(),
        _text("register"),
        _maybe("subject_id", sa.Uuid),
        _text("reason"),
        _text("document"),
        _text("placed_by"),
        _at("placed_at"),
        _maybe("released_by"),
        _at("released_at", nullable=True),
        _check("legal_hold", "times", "released_at IS NULL OR released_at >= placed_at"),
    )
    _index("ix_legal_hold_standing", "legal_hold", ["district_code", "register", "subject_id"], "released_at IS NULL")
    _guard_records()


def _guard_records() -> None:
    staff = f"{ROLE} IN ('system', 'admin', 'supervisor', 'unit', 'grid_worker')"
    append = "SELECT, INSERT"
    # Whoever was shown the row, and it alone, reads what became of it.
    shelter("life_event", reads=f"{ROLE} = 'system' OR {_SUBJECT}", writes=staff, privileges=append)
    shelter(
        "register_opening",
        reads=f"{ROLE} IN ('system', 'supervisor') OR {_SUBJECT}",
        writes=staff,
        privileges=append,
    )
    shelter("register_log", reads=f"{ROLE} IN ('system', 'admin', 'supervisor')", writes=staff, privileges=append)
    for table in ("life_event", "register_opening", "register_log"):
        append_only(table)
    shelter("register_slip", reads=f"{ROLE} = 'system'", writes=staff, privileges="SELECT, INSERT, DELETE")
    shelter(
        "legal_hold",
        reads=f"{ROLE} IN ('system', 'admin', 'supervisor')",
        writes=f"{ROLE} IN ('system', 'admin', 'supervisor')",
    )
