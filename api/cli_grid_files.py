"""Commands about map files of the grid: check one, keep it as an import that waits, and export layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import console
from api.cli_grid import grid
from core.errors import Invalid

if TYPE_CHECKING:
    from core.actor import Actor
    from grid.imports import Examined, Options

#: Findings that are printed; the rest is counted.
_SHOWN = 40

_File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="GeoJSON, GeoPackage, or a zip with a Shapefile.")
]
_Datum = Annotated[str, typer.Option(help="WGS84, CGCS2000, GCJ-02 or BD-09; empty: as the file says.")]
_Layer = Annotated[str, typer.Option(help="Layer of the file, where there are several.")]
_Tolerance = Annotated[float, typer.Option(help="Gaps and overlaps up to this width in metres only warn.")]
_Snap = Annotated[float, typer.Option(help="Up to this width in metres a snap is proposed.")]
_Some = Annotated[bool, typer.Option("--some", help="The file holds some communities only; the others stay.")]


def _options(datum: str, layer: str, *, tolerance: float, snap: float, some: bool) -> "Options":
    from grid.imports import Options

    return Options(datum=datum, layer=layer, whole=not some, tolerance_m=tolerance, snap_m=snap)


def _examined(data: bytes, options: "Options", *, mend: bool) -> tuple["Actor", "Examined"]:
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid import imports
    from grid.mending import AGAIN

    actor = system(wiring.district(), "command line")
    with snapshot(actor) as session:
        ground, kept = imports.known(session, at=wiring.now()), imports.rules(session, options)
    found = imports.examine(data, options, ground=ground, kept=kept)
    fixes = [(one.rule, i, one.fix) for i, one in enumerate(found.findings) if one.fix and one.fix.kind not in AGAIN]
    if mend and fixes:
        facts = found.facts
        found = imports.mended(found.cells, found.told, fixes, ground=ground, kept=kept)
        found.facts = facts
        console.print(f"{len(fixes):,} proposals were done.")
    return actor, found


def _show(found: "Examined", language: str) -> int:
    """Print what was found and return how many findings refuse the file."""
    from api import i18n
    from api.pages.grid_import import said

    token = i18n.LANGUAGE.set(language)
    try:
        for one in found.findings[:_SHOWN]:
            mark, style = ("■", "red") if one.severity == "refuses" else ("▲", "yellow")
            console.print(f"{mark} {one.rule}: {said(one.message, one.params)}", style=style, markup=False)
    finally:
        i18n.LANGUAGE.reset(token)
    if len(found.findings) > _SHOWN:
        console.print(f"… and {len(found.findings) - _SHOWN:,} more.")
    grave = sum(one.severity == "refuses" for one in found.findings)
    console.print(
        f"{len(found.cells.code):,} cells, {grave:,} findings refuse them, {len(found.findings) - grave:,} warn."
    )
    return grave


@grid.command("check")
def check(
    file: _File,
    datum: _Datum = "",
    layer: _Layer = "",
    tolerance: _Tolerance = 0.5,
    snap: _Snap = 5.0,
    language: Annotated[str, typer.Option(help="Language of the findings: zh or en.")] = "zh",
    *,
    some: _Some = False,
) -> None:
    """Check the cells of a map file against the district and keep nothing; exit 1 where findings refuse it."""
    from api import i18n

    if language not in i18n.LANGUAGES:
        raise Invalid("The language must be one of {languages}.", languages=", ".join(i18n.LANGUAGES))
    options = _options(datum, layer, tolerance=tolerance, snap=snap, some=some)
    _, found = _examined(file.read_bytes(), options, mend=False)
    if _show(found, language):
        raise typer.Exit(1)


@grid.command("import")
def take(
    file: _File,
    datum: _Datum = "",
    layer: _Layer = "",
    tolerance: _Tolerance = 0.5,
    snap: _Snap = 5.0,
    *,
    some: _Some = False,
    mend: Annotated[bool, typer.Option("--snap-all", help="Do every proposed snap at once.")] = False,
) -> None:
    """Check a map file and keep it as an import that waits on /grid/import for a person to plan it."""
    from hashlib import sha256

    from api import wiring
    from api.photos import store
    from api.uploads import plain_name
    from core.db import transaction
    from grid import imports

    options = _options(datum, layer, tolerance=tolerance, snap=snap, some=some)
    data = file.read_bytes()
    actor, found = _examined(data, options, mend=mend)
    _show(found, "zh")
    digest = sha256(data).hexdigest()
    store().put(digest, data)
    with transaction(actor) as session:
        key = imports.keep(session, found, name=plain_name(file.name), sha256=digest, options=options, at=wiring.now())
    console.print(f"It waits at /grid/import/{key}; nothing of it is in force.")


@grid.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="File to write: .geojson, .gpkg or .zip (Shapefile).")],
    what: Annotated[
        list[str] | None, typer.Option(help="cells, communities, towns, places, parts or key_places; may be repeated.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Texts of a Shapefile: UTF-8 or GBK.")] = "UTF-8",
) -> None:
    """Write layers of the district into a map file, EPSG:4490."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid import exports, files

    form = next((name for name, (ending, _) in files.FORMS.items() if out.suffix.lower() == ending), None)
    wanted = what or ["cells"]
    if form is None or not set(wanted) <= set(exports.LAYERS):
        raise Invalid("There is no such export.")
    if form == "geojson" and len(wanted) > 1:
        raise Invalid("A GeoJSON file holds one layer; write a GeoPackage instead.")
    with snapshot(system(wiring.district(), "command line")) as session:
        layers = [exports.layer(session, name, at=wiring.now()) for name in wanted]
    out.write_bytes(files.write(layers, form, encoding=encoding))  # type: ignore[arg-type]
    console.print(f"{out}: " + ", ".join(f"{len(one.shapes):,} {one.name}" for one in layers), markup=False)
