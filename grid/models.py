"""The tables of the ground: districts, areas, cells, registers, categories, units, accounts. No behaviour.

Every table leads its primary key with `district_code`; geometry is EPSG:4490 with the source datum kept beside it.
"""

import uuid
from datetime import datetime
from typing import Any

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base

#: timestamptz: the program only ever hands over and gets back aware times.
Instant = TIMESTAMP(timezone=True)


def geometry(kind: str) -> Geometry:
    """Return a geometry column type in EPSG:4490 whose index, if any, is declared by the table."""
    return Geometry(kind, srid=4490, spatial_index=False)


class District(Base):
    """区县: one installation serves one or more."""

    __tablename__ = "district"

    #: 6-digit GB/T 2260 code; fictional districts use 99xxxx, which the standard leaves free.
    district_code: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str]
    #: The prefecture, province and other names a resident may put before an address.
    city_name: Mapped[str] = mapped_column(server_default="")
    #: Invented from end to end; every page says so.
    fictional: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Real texts joined to places they were not written about; every page says so.
    synthetic_join: Mapped[bool] = mapped_column(server_default=text("false"))
    geom: Mapped[WKBElement | None] = mapped_column(geometry("MULTIPOLYGON"))
    #: Defaults that this district changed (caps, thresholds, office hours).
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    #: Counts up with each load that changed something, so that caches know.
    revision: Mapped[int] = mapped_column(server_default=text("0"))
    loaded_at: Mapped[datetime | None] = mapped_column(Instant)


class Area(Base):
    """街道/镇 and 社区/村: the two levels between district and cell."""

    __tablename__ = "area"
    __table_args__ = (
        CheckConstraint("level IN ('town', 'community')", name="level"),
        Index("ix_area_geom", "geom", postgresql_using="gist"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: 9 digits for a town, 12 for a community (statistical division codes).
    code: Mapped[str] = mapped_column(primary_key=True)
    level: Mapped[str]
    #: The town's own code, also on the town itself.
    town_code: Mapped[str]
    name: Mapped[str]
    #: As people say it: without 居委会, 街道 and the like.
    short: Mapped[str]
    aliases: Mapped[list[str]] = mapped_column(ARRAY(String), server_default=text("'{}'"))
    #: Absent for communities whose whereabouts nobody has told us.
    geom: Mapped[WKBElement | None] = mapped_column(geometry("MULTIPOLYGON"))
    centre: Mapped[WKBElement | None] = mapped_column(geometry("POINT"))
    #: The polygon was computed by us, not given by an authority.
    derived: Mapped[bool] = mapped_column(server_default=text("false"))
    source_datum: Mapped[str | None]


class Cell(Base):
    """网格: the smallest accountable space, a closed polygon inside one community (S2)."""

    __tablename__ = "cell"
    __table_args__ = (
        CheckConstraint("kind IN ('residential', 'commercial', 'industrial', 'mixed')", name="kind"),
        Index("ix_cell_geom", "geom", postgresql_using="gist"),
        Index("ix_cell_community", "district_code", "community_code"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: 15 digits: community code + 3, numbered west to east, north to south.
    code: Mapped[str] = mapped_column(primary_key=True)
    town_code: Mapped[str]
    community_code: Mapped[str]
    kind: Mapped[str]
    geom: Mapped[WKBElement] = mapped_column(geometry("MULTIPOLYGON"))
    derived: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Known households; None where nobody counted.
    households: Mapped[int | None]
    #: Places of the register inside, at the last load.
    places: Mapped[int] = mapped_column(server_default=text("0"))


class Place(Base):
    """地: a named place of the register."""

    __tablename__ = "place"
    __table_args__ = (
        Index("ix_place_geom", "geom", postgresql_using="gist"),
        Index("ix_place_cell", "district_code", "cell_code"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: The source's own key, so that a repeated load meets the same row.
    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    #: First level of the type, as the source names it.
    type: Mapped[str]
    #: The whole type path, separated by `;`.
    type_path: Mapped[str] = mapped_column(server_default="")
    address: Mapped[str] = mapped_column(server_default="")
    town_code: Mapped[str | None]
    community_code: Mapped[str | None]
    cell_code: Mapped[str | None]
    geom: Mapped[WKBElement] = mapped_column(geometry("POINT"))
    source_datum: Mapped[str]
    source_lng: Mapped[float]
    source_lat: Mapped[float]


class Address(Base):
    """地址: a road with a house number and where it is."""

    __tablename__ = "address"
    __table_args__ = (
        Index("ix_address_road", "district_code", "road"),
        Index("ix_address_geom", "geom", postgresql_using="gist"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    #: What stands there, where the source says it.
    name: Mapped[str] = mapped_column(server_default="")
    road: Mapped[str]
    #: As written before 号: digits, perhaps with 之 or a letter.
    house_no: Mapped[str]
    #: Town + road + number: two rows with the same key are the same address.
    addr_key: Mapped[str]
    town_code: Mapped[str | None]
    community_code: Mapped[str | None]
    cell_code: Mapped[str | None]
    geom: Mapped[WKBElement] = mapped_column(geometry("POINT"))
    source_datum: Mapped[str]
    source_lng: Mapped[float]
    source_lat: Mapped[float]


class Category(Base):
    """类别: a node of the district's own category tree."""

    __tablename__ = "category"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: A child's code begins with its parent's: rules name subtrees by prefix.
    code: Mapped[str] = mapped_column(primary_key=True)
    parent_code: Mapped[str | None]
    #: 1 is the top.
    level: Mapped[int]
    name: Mapped[str]


class Unit(Base):
    """责任单位: a department, town office or community that answers for something somewhere."""

    __tablename__ = "unit"
    __table_args__ = (
        CheckConstraint("kind IN ('centre', 'department', 'town_office', 'community', 'emergency')", name="kind"),
        UniqueConstraint("district_code", "name"),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    #: The town or community it answers for; empty for the whole district.
    area_code: Mapped[str] = mapped_column(server_default="")
    #: Who answers while this unit is closed or gone; the loader refuses loops.
    deputy_code: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))


class Account(Base):
    """账号: a person who signs in."""

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("district_code", "login"),
        ForeignKeyConstraint(["district_code", "unit_code"], ["unit.district_code", "unit.code"]),
        CheckConstraint(
            "role IN ('citizen', 'operator', 'unit', 'grid_worker', 'official', 'supervisor', 'admin')", name="role"
        ),
    )

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    login: Mapped[str]
    #: argon2id, with its parameters inside.
    password_hash: Mapped[str]
    role: Mapped[str]
    name: Mapped[str]
    #: Narrows the view to one town; empty for the whole district.
    town_code: Mapped[str] = mapped_column(server_default="")
    unit_code: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    #: Counted up to end every session of the account at once.
    session_epoch: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(Instant)


class Throttle(Base):
    """Counts tries within a window, per login or per address; holds no name in clear."""

    __tablename__ = "throttle"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    #: Blind index of what is counted.
    key: Mapped[bytes] = mapped_column(primary_key=True)
    tries: Mapped[int]
    window_ends: Mapped[datetime] = mapped_column(Instant)


class LoadRun(Base):
    """One `wangge load`: what came from which folder, and how much was refused."""

    __tablename__ = "load_run"

    district_code: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    loaded_at: Mapped[datetime] = mapped_column(Instant)
    #: SHA-256 over the folder's files and options: the same folder again changes nothing.
    digest: Mapped[str]
    #: Rows taken and refused per file.
    counts: Mapped[dict[str, Any]] = mapped_column(JSONB)
