"""What a district folder 区县资料夹 holds: its files, their columns, and the manifest `district.yaml` that names them.

`docs/formats.md` says the same in prose. Knows where each file lies and in which datum; reads none but the manifest.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from core.datums import Datum
from core.errors import Invalid
from grid.tabular import Column

#: Raised when the loader would make something else of the same files.
FORMAT: Final = "4"
MANIFEST: Final = "district.yaml"
#: Mappings for folders that do not have our form, recognised by the files they hold.
PROFILES: Final = Path(__file__).parent / "profiles"

#: Clocks of the complaint process.
CLOCKS: Final = ("dispatch", "sign", "reply", "callback")
#: Clocks of side roads; a district's own table may leave them to the shipped limits.
SIDE_CLOCKS: Final = ("arbitrate", "pause", "review", "plea", "supervise", "share_sign", "share_reply")
_CODE = r"[0-9A-Za-z_\-]{1,40}"
_LNG = Column("lng", kind="number", required=True, meaning="longitude, degrees, in the file's datum")
_LAT = Column("lat", kind="number", required=True, meaning="latitude, degrees, in the file's datum")
_LINE_KEY = Column("key", meaning="the source's own key; default: the feature's number; one that repeats is numbered")

#: Columns of each table; GeoJSON files have the same names among their properties.
COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "towns": (
        Column("code", kind="code", pattern=r"\d{9}", meaning="9 digits; optional where communities name their town"),
        Column("name", required=True, meaning="full name, with 街道 or 镇"),
        Column("short", meaning="as people say it; default: the name without its ending"),
        Column("aliases", meaning="other names, separated by |"),
    ),
    "communities": (
        Column("code", kind="code", required=True, pattern=r"\d{12}", meaning="12 digits, the first 9 are the town's"),
        Column("name", required=True, meaning="full name, with 居委会 or 村委会"),
        Column("short", meaning="as people say it; default: the name without its ending"),
        Column("aliases", meaning="other names, separated by |"),
        Column("town", meaning="name of the town; gives towns without a code theirs"),
        Column("lng", kind="number", meaning="centre, where no polygon is given"),
        Column("lat", kind="number", meaning="centre, where no polygon is given"),
        Column("evidence", kind="integer", meaning="how many sources agree on the centre; under 2 it is not used"),
    ),
    "cells": (
        Column("code", kind="code", required=True, pattern=r"\d{15}", meaning="15 digits, 12 the community's"),
        Column(
            "kind",
            kind="choice",
            choices=("residential", "commercial", "industrial", "mixed"),
            meaning="default: computed from the places inside",
        ),
        Column("households", kind="integer", meaning="known households"),
    ),
    "roads": (
        _LINE_KEY,
        Column("name", meaning="name of the road"),
        Column("class", longest=40, meaning="motorway, trunk, primary, secondary, tertiary, residential, service …"),
    ),
    "water": (
        _LINE_KEY,
        Column("name", meaning="name of the river or lake"),
        Column("class", longest=40, meaning="river, canal, stream, lake …"),
    ),
    "estates": (
        _LINE_KEY,
        Column("name", meaning="name of the estate 小区"),
        Column("class", longest=40, meaning="what kind of estate, in the source's words"),
    ),
    "places": (
        Column("key", required=True, meaning="the source's own key; must not repeat"),
        Column("name", required=True, meaning="name of the place"),
        Column("type", meaning="first level of its type; default: the first part of type_path"),
        Column("type_path", meaning="whole type, levels separated by ;"),
        Column("address", longest=500, meaning="as written"),
        _LNG,
        _LAT,
    ),
    "addresses": (
        Column("key", required=True, meaning="the source's own key; must not repeat"),
        Column("name", meaning="what stands there"),
        Column("road", required=True, meaning="road or lane, as written before the number"),
        Column("house_no", required=True, longest=40, meaning="as written before 号"),
        Column("addr_key", meaning="default: town + road + number + 号"),
        _LNG,
        _LAT,
    ),
    "categories": (
        Column("code", kind="code", pattern=_CODE, meaning="begins with its parent's code"),
        Column("parent_code", kind="code", pattern=_CODE, meaning="empty on the first level"),
        Column("name", meaning="name of this node"),
        Column("level1", meaning="instead of code, parent_code and name: names by level, codes are numbered"),
        Column("level2", meaning="second level"),
        Column("level3", meaning="third level"),
    ),
    "units": (
        Column("code", kind="code", required=True, pattern=_CODE, meaning="the district's own code of the unit"),
        Column("name", required=True, meaning="full name; must not repeat"),
        Column(
            "kind",
            kind="choice",
            required=True,
            choices=("centre", "department", "town_office", "community", "emergency"),
            meaning="exactly one centre, the owner of last resort",
        ),
        Column("area_code", kind="code", pattern=r"\d{9}|\d{12}", meaning="town or community it answers for"),
        Column("deputy_code", kind="code", pattern=_CODE, meaning="unit that stands in; loops are refused"),
    ),
    "outside": (Column("name", required=True, longest=40, meaning="a place name that lies outside the district"),),
    "rules": (
        Column("id", kind="code", required=True, pattern=_CODE, meaning="name of the rule, kept in the case's log"),
        Column("category", meaning="code, or names separated by /; with all below; empty: every category"),
        Column("area", meaning="code of a town, community or cell, or a town's name; empty: the whole district"),
        Column("weekdays", meaning="ISO weekdays as digits, 12345; empty: every day"),
        Column("hours", meaning="HH:MM-HH:MM, Asia/Shanghai; empty: all day"),
        Column("unit", required=True, meaning="code of the unit"),
        Column("note", meaning="why, for people"),
    ),
    "limits": (
        Column("id", kind="code", pattern=_CODE, meaning="default: numbered"),
        Column(
            "clock",
            kind="choice",
            required=True,
            choices=(*CLOCKS, *SIDE_CLOCKS),
            meaning="what runs",
        ),
        Column("kind", meaning="complaint, enquiry, complex …; empty: every kind"),
        Column("urgency", meaning="emergency, utilities or ordinary; empty: every one"),
        Column("category", meaning="as in rules"),
        Column("item", meaning="beginning of codes of service items; empty: every matter"),
        Column("limit", required=True, longest=10, meaning="0, sd, N + wh, wd, nd or h"),
        Column("note", meaning="why, for people"),
    ),
}

#: Files whose rows stand for themselves: a bad row is left out and reported. In every other file it refuses the load.
REGISTERS: Final = ("places", "addresses", "roads", "water", "estates")
#: Files with coordinates: their datum must be said. Communities need theirs only where they give centres.
LOCATED: Final = ("towns", "community_polygons", "cells", "places", "addresses", "roads", "water", "estates")
#: File of lines → what its lines are; see `grid.lines`.
LINES: Final[Mapping[str, str]] = {"roads": "road", "water": "water", "estates": "estate"}
_REQUIRED: Final = ("towns", "communities", "categories", "units")
_MANIFEST_KEYS: Final = {
    "code", "name", "city_name", "province_name", "fictional", "synthetic_join", "settings", "files", "recognise",
    "uses", "labels",
}  # fmt: skip
_ENDINGS: Final = (".geojson", ".csv", ".xlsx", ".yaml")


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the folder."""

    path: Path
    #: Missing only for files without coordinates.
    datum: Datum | None = None
    columns: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    encoding: str = "utf-8-sig"


@dataclass(frozen=True, slots=True)
class Folder:
    """A district folder whose manifest was read and whose files were found."""

    code: str
    name: str
    #: Prefecture and province, as residents put them before an address.
    city_name: str
    fictional: bool
    synthetic_join: bool
    settings: Mapping[str, Any]
    #: Table → its source; communities may have both a table and polygons (`community_polygons`).
    sources: Mapping[str, Source]
    #: Files with working-day notices.
    notices: tuple[Path, ...]
    #: use → prefixes of type paths; see `grid.derive.kinds`.
    uses: Mapping[str, Sequence[str]]
    #: SHA-256 over the files and options: the same again changes nothing.
    digest: str


def open_folder(
    folder: Path, *, datums: Mapping[str, str | Datum] | None = None, synthetic_join: bool | None = None
) -> Folder:
    """Return the folder's manifest with every file found and every datum said.

    datums: file name (as in the folder) → datum; wins over the manifest's. Raises Invalid on a folder that is none, an
    unknown key, a missing file, a file with coordinates and no datum, and a datum for a file that is not read.
    """
    if not folder.is_dir():
        raise Invalid("{folder} is not a folder.", folder=str(folder))
    manifest = folder / MANIFEST if (folder / MANIFEST).is_file() else _profile(folder)
    told = _manifest(manifest)
    named = {name: Datum.parse(datum, field=name) for name, datum in (datums or {}).items()}
    files = told.get("files") or {}
    sources: dict[str, Source] = {}
    for table in (*COLUMNS, "community_polygons"):
        entry = files.get(table)
        entry = {"file": entry} if isinstance(entry, str) else entry
        path = _path(entry, table, folder=folder, home=manifest.parent)
        if path is None:
            continue
        datum = named.pop(path.name, None) or (entry or {}).get("datum")
        sources[table] = Source(
            path,
            Datum.parse(datum, field=path.name) if datum else None,
            (entry or {}).get("columns") or {},
            (entry or {}).get("encoding") or "utf-8-sig",
        )
    if named:
        raise Invalid("A datum is given for {file}, which is not read.", file=next(iter(named)))
    _check(sources)
    notices = tuple(
        path
        for path in sorted((manifest.parent / str(files.get("notices") or "notices")).glob("*"))
        if path.suffix.lower() in (".yaml", ".csv", ".xlsx")
    )
    joined = told.get("synthetic_join") is True if synthetic_join is None else synthetic_join
    return Folder(
        code=str(told["code"]),
        name=str(told["name"]),
        city_name=str(told.get("city_name") or ""),
        fictional=told.get("fictional") is True,
        synthetic_join=joined,
        settings=_settings(told),
        sources=sources,
        notices=notices,
        uses=told.get("uses") or {},
        digest=_digest(manifest, sources, notices, joined=joined),
    )


def _profile(folder: Path) -> Path:
    """Return the manifest of the profile that recognises a folder by its files; raises Invalid when none does."""
    for manifest in sorted(PROFILES.glob(f"*/{MANIFEST}")):
        known = _manifest(manifest).get("recognise") or ["\0"]
        if all((folder / str(name)).is_file() for name in known):
            return manifest
    raise Invalid("{folder} has no district.yaml and no profile knows its files.", folder=folder.name)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("{file} is not YAML.", file=path.name) from error
    if not isinstance(told, dict):
        raise Invalid("{file} does not hold a district.", file=path.name)
    for key in told:
        if key not in _MANIFEST_KEYS:
            raise Invalid("{file}: {key} is not known.", file=path.name, key=str(key), field=str(key))
    code = str(told.get("code") or "")
    if not (len(code) == 6 and code.isascii() and code.isdigit()) or not told.get("name"):
        raise Invalid("{file}: a district needs a code of 6 digits and a name.", file=path.name, field="code")
    if (told.get("fictional") is True) != code.startswith("99"):
        raise Invalid("{file}: codes 99xxxx are for fictional districts, and for those alone.", file=path.name)
    uses = told.get("uses") or {}
    if not isinstance(uses, dict) or not uses.keys() <= {"residential", "commercial", "industrial"}:
        raise Invalid("{file}: uses are residential, commercial or industrial.", file=path.name, field="uses")
    files = told.get("files") or {}
    known = {*COLUMNS, "community_polygons", "notices"}
    if not isinstance(files, dict) or not files.keys() <= known:
        raise Invalid("{file}: files must name some of {known}.", file=path.name, known=", ".join(sorted(known)))
    return told


def _path(entry: Mapping[str, Any] | None, table: str, *, folder: Path, home: Path) -> Path | None:
    """Return where a table lies: `given` in the folder loaded, `file` beside the manifest, else by its name."""
    if entry is None:
        found = [home / f"{table}{ending}" for ending in _ENDINGS if (home / f"{table}{ending}").is_file()]
        if len(found) > 1:
            raise Invalid("{one} and {two} hold the same table.", one=found[0].name, two=found[1].name)
        return found[0] if found else None
    base, name = (folder, entry.get("given")) if entry.get("given") else (home, entry.get("file"))
    path = (base / str(name)).resolve()
    if not path.is_relative_to(base.resolve()):
        raise Invalid("{file} lies outside the folder.", file=str(name))
    if not path.is_file():
        raise Invalid("The file {file} is missing.", file=str(name), field=table)
    return path


def _check(sources: Mapping[str, Source]) -> None:
    for table in _REQUIRED:
        if table not in sources:
            raise Invalid("The folder has no {table}.", table=table)
    for table in LOCATED:
        if table in sources:
            said_datum(sources[table])


def said_datum(source: Source) -> Datum:
    """Return the datum of a file with coordinates; raises Invalid where nobody said it."""
    if source.datum is None:
        file = source.path.name
        raise Invalid(
            "The datum of {file} is missing: say it in district.yaml or with --datum {file}=WGS84.",
            field=file,
            file=file,
        )
    return source.datum


def _settings(told: Mapping[str, Any]) -> dict[str, Any]:
    settings = dict(told.get("settings") or {})
    for name in ("province_name", "labels"):
        if told.get(name):
            settings[name] = told[name]
    return settings


def _digest(manifest: Path, sources: Mapping[str, Source], notices: Sequence[Path], *, joined: bool) -> str:
    total = hashlib.sha256(f"{FORMAT}/{joined}".encode())
    for path in (manifest, *notices):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for table, source in sorted(sources.items()):
        total.update(f"{table}\0{source.datum}\0".encode())
        with source.path.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()
