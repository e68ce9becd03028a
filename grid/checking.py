"""Checks of a set of cells before it may become the grid 网格检查 (S2, DOMAIN): every rule, each with a sentence.

Pure: cells and what is known go in, findings come out; no table, no clock. `grid.coverage` has the rules about gaps and
overlaps, `grid.shifting` the one about a whole file beside its place, `grid.mending` does what a person accepts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from core.datums import Plane
from core.errors import Invalid
from grid import derive
from grid.cellset import CellSet
from grid.coverage import Ground, check_coverage, settle
from grid.findings import MOST_OF_A_RULE, Finding, Known, Rules, Told, area_m2, more, pieces, place
from grid.mending import Fix, healed
from grid.shifting import check_shift
from grid.words import N_

#: In the order of listing.
RULES: Final = (
    "datum", "swapped", "shift", "datum_name", "unclosed", "empty", "crossing", "parts", "code", "code_twice",
    "community", "elsewhere", "vanished", "overlap", "gap", "hole", "outside", "enclosed", "kind", "kind_places",
    "order", "households", "households_unknown", "owners",
)  # fmt: skip
_KINDS: Final = (*derive.KINDS, "mixed")
#: Places that must speak before they contradict a kind.
_SPEAK: Final = 5
#: What GEOS says of a broken polygon → our sentence.
_BROKEN: Final = (
    ("Self-intersection", N_("The boundary of cell {code} crosses itself at {lng}, {lat}.")),
    ("Ring Self-intersection", N_("The boundary of cell {code} touches itself at {lng}, {lat}.")),
    ("Hole lies outside", N_("A hole of cell {code} lies outside its boundary, at {lng}, {lat}.")),
    ("Holes are nested", N_("Two holes of cell {code} lie in one another, at {lng}, {lat}.")),
    ("Nested shells", N_("Two parts of cell {code} lie in one another, at {lng}, {lat}.")),
    ("Duplicate Rings", N_("Cell {code} has the same ring twice, at {lng}, {lat}.")),
    ("Interior is disconnected", N_("Holes of cell {code} cut it in two, at {lng}, {lat}.")),
    ("Too few points", N_("A ring of cell {code} has fewer than four points, at {lng}, {lat}.")),
)
_BROKEN_OTHERWISE: Final = N_("The boundary of cell {code} is not simple, at {lng}, {lat}.")
#: Why a cell has no boundary that could be drawn (`Told.faults`).
_WITHOUT: Final = {
    "not_polygon": N_("Cell {code} is a point or a line, not an area."),
    "numbers": N_("The coordinates of cell {code} are not numbers."),
    "few_points": N_("The boundary of cell {code} has fewer than three corners."),
}
_PLACE: Final = re.compile(r"\[(\S+) (\S+?)\]")


def check(cells: CellSet, known: Known, rules: Rules | None = None, told: Told | None = None) -> list[Finding]:
    """Return everything that is wrong or odd with a set of cells, gravest first; nothing for a sound one.

    known: what the district knows already. told: what the file said beyond its cells. 5,000 cells take a few seconds.
    """
    rules, told = rules or Rules(), told or Told()
    if not cells.code:
        return []
    there = np.array([shape is not None and not shape.is_empty for shape in cells.geom], dtype=bool)
    if not there.any():
        return list(_ordered(_empty(cells, there, told)))
    west, south, east, north = shapely.total_bounds(cells.geom[there])
    plane = Plane.at((west + east) / 2, (south + north) / 2)
    claimed = [given or code[:12] for given, code in zip(cells.community, cells.code, strict=True)]
    sound = there & shapely.is_valid(cells.geom)
    shapes = np.array([shape if good else None for shape, good in zip(cells.geom, sound, strict=True)], dtype=object)
    label = [code or f"#{i + 1}" for i, code in enumerate(cells.code)]
    lies = settle(shapes, claimed, known)
    ground = Ground(shapes, label, lies, plane)
    found: list[Finding] = [*check_shift(cells, known, told, plane), *_of_file(told, cells)]
    found += _empty(cells, there, told)
    found += _broken(cells, label, there & ~sound, plane, rules)
    found += _parts(ground, known)
    found += [*_uncoded(cells, ground, known), *_codes(cells, known, rules)]
    found += _communities(ground, claimed, known, rules)
    found += check_coverage(ground, known, rules)
    found += _enclosed(ground)
    found += _kinds(cells, ground, known)
    found += _order(cells, ground)
    found += _households(cells, ground, known, rules)
    found += _owners(cells, lies, known)
    return list(_ordered(found))


def _ordered(found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings by rule in the order of `RULES`, of each rule the gravest first and a bounded number."""
    by_rule: dict[str, list[Finding]] = defaultdict(list)
    for one in found:
        by_rule[one.rule].append(one)
    ordered = sorted(by_rule, key=lambda rule: (all(f.severity == "warns" for f in by_rule[rule]), RULES.index(rule)))
    for rule in ordered:
        listed = sorted(
            by_rule[rule],
            key=lambda one: (one.geometry is None, one.severity, -float(one.params.get("area", 0))),
        )
        # What was too much already where it was found comes with its own count.
        if len(listed) > MOST_OF_A_RULE + 1:
            left = listed[MOST_OF_A_RULE:]
            listed = [*listed[:MOST_OF_A_RULE], more(rule, len(left), min(one.severity for one in left))]
        yield from listed


def _of_file(told: Told, cells: CellSet) -> Iterator[Finding]:
    if told.swapped:
        message = N_("The file gives latitude before longitude; it is drawn here with the two exchanged.")
        outline = shapely.box(*shapely.total_bounds(cells.geom))
        yield Finding("swapped", "refuses", (), outline, message, {}, Fix("swap"))
    if told.said_datum:
        yield Finding(
            "datum_name",
            "warns",
            (),
            None,
            N_("The file says its coordinates are {said}, you say {datum}: yours was taken."),
            {"said": told.said_datum, "datum": told.datum.value},
        )
    for i in told.unclosed:
        yield Finding(
            "unclosed",
            "refuses",
            (i,),
            cells.geom[i],
            N_("The boundary of cell {code} is not closed: its last point is not its first."),
            {"code": cells.code[i] or f"#{i + 1}"},
            Fix("reshape", (i,), cells.geom[i]),
        )


def _empty(cells: CellSet, there: NDArray[np.bool_], told: Told) -> Iterator[Finding]:
    for i in np.flatnonzero(~there).tolist():
        message = _WITHOUT.get(told.faults.get(i, ""), N_("Cell {code} has no boundary."))
        yield Finding("empty", "refuses", (i,), None, message, {"code": cells.code[i] or f"#{i + 1}"})


def _broken(
    cells: CellSet, label: Sequence[str], broken: NDArray[np.bool_], plane: Plane, rules: Rules
) -> Iterator[Finding]:
    """Yield each polygon that is not simple, with the place, and a healed one where that changes next to nothing."""
    for i in np.flatnonzero(broken).tolist():
        shape = cells.geom[i]
        reason = str(shapely.is_valid_reason(shape))
        message = next((said for start, said in _BROKEN if reason.startswith(start)), _BROKEN_OTHERWISE)
        where = _PLACE.search(reason)
        spot = (
            shapely.Point(float(where[1]), float(where[2])) if where else shapely.get_point(shapely.boundary(shape), 0)
        )
        made, fix = healed(shape), None
        if made is not None and spot is not None and _alike(shape, made, plane, rules):
            fix = Fix("reshape", (i,), made)
        spot = spot if spot is not None else shapely.centroid(shape)
        yield Finding("crossing", "refuses", (i,), spot, message, {"code": label[i], **place(spot)}, fix)


def _alike(shape: Any, made: Any, plane: Plane, rules: Rules) -> bool:
    """Return whether healing left a polygon's parts as they were and its area but for slivers."""
    if len(shapely.get_parts(made)) > len(shapely.get_parts(shape)):
        return False
    outline = shapely.union_all([shapely.Polygon(part.exterior) for part in shapely.get_parts(made)])
    hull = [shapely.make_valid(shapely.Polygon(part.exterior)) for part in shapely.get_parts(shape)]
    changed = area_m2(shapely.symmetric_difference(outline, shapely.union_all(hull)), plane)[0]
    allowed = rules.tolerance_m * float(shapely.length(shapely.transform(made, plane.to_metres)))
    return bool(changed <= allowed)


def _parts(ground: Ground, known: Known) -> Iterator[Finding]:
    """Yield cells in several parts; allowed, with a warning, where the community itself lies in several."""
    count = shapely.get_num_geometries(ground.shapes)
    for i in np.flatnonzero(count > 1).tolist():
        parts = shapely.get_parts(ground.shapes[i])
        small = parts[np.argsort(shapely.area(parts))[:-1]]
        polygon = known.communities.get(ground.lies[i])
        islands = polygon is not None and shapely.get_num_geometries(polygon) > 1
        yield Finding(
            "parts",
            "warns" if islands else "refuses",
            (i,),
            shapely.MultiPolygon(small.tolist()),
            N_("Cell {code} lies in {n} parts; the smaller ones have {area} m² together. A cell is one closed area."),
            {
                "code": ground.label[i],
                "n": len(parts),
                "area": round(float(area_m2(small, ground.plane).sum()), 1),
            },
        )


def _uncoded(cells: CellSet, ground: Ground, known: Known) -> Iterator[Finding]:
    """Yield, by community, the cells that bear no code, with numbers that nobody bears yet."""
    bare: dict[str, list[int]] = defaultdict(list)
    for i, code in enumerate(cells.code):
        if not code:
            bare[ground.lies[i]].append(i)
    borne = set(cells.code)
    for community, members in sorted(bare.items()):
        drawn = [i for i in members if ground.shapes[i] is not None]
        order = [drawn[int(k)] for k in derive.number(ground.shapes[drawn])] if drawn else []
        free = [code for n in range(1, 1000) if (code := f"{community}{n:03d}") not in borne][: len(order)]
        numbered = community in known.communities and len(free) == len(order) == len(members)
        yield Finding(
            "code",
            "refuses",
            tuple(members),
            None,
            N_("{n} cells of {community} have no code."),
            {"n": len(members), "community": known.names.get(community, community)},
            Fix("number", tuple(order), values=tuple(free)) if numbered else None,
        )


def _codes(cells: CellSet, known: Known, rules: Rules) -> Iterator[Finding]:
    """Yield codes that are of the wrong form, of no community, or borne twice."""
    try:
        pattern = re.compile(rules.pattern)
    except re.error as error:
        raise Invalid("The district's pattern of cell codes cannot be read.", field="pattern") from error
    for i, code in enumerate(cells.code):
        community = cells.community[i] or code[:12]
        params = {"code": code, "community": community}
        if not code:
            continue
        if len(code) > 40 or not pattern.fullmatch(code):
            message = N_("The code {code} does not fit the district's pattern for cells.")
        elif not code.startswith(community):
            message = N_("The code {code} does not begin with that of its community, {community}.")
        else:
            if known.communities and community not in known.communities:
                message = N_("The code {code} begins with that of no community of the district.")
                yield Finding("community", "refuses", (i,), cells.geom[i], message, params)
            continue
        yield Finding("code", "refuses", (i,), cells.geom[i], message, params)
    often = Counter(code for code in cells.code if code)
    twice: dict[str, list[int]] = defaultdict(list)
    for i, code in enumerate(cells.code):
        if often[code] > 1:
            twice[code].append(i)
    for code, members in twice.items():
        yield Finding(
            "code_twice",
            "refuses",
            tuple(members),
            shapely.geometrycollections([cells.geom[i] for i in members if cells.geom[i] is not None]),
            N_("{n} cells have the code {code}."),
            {"n": len(members), "code": code},
        )


def _communities(ground: Ground, claimed: Sequence[str], known: Known, rules: Rules) -> Iterator[Finding]:
    """Yield cells that lie in another community than their code says, and communities that are left without a cell."""
    for i, (own, lies) in enumerate(zip(claimed, ground.lies, strict=True)):
        if ground.shapes[i] is None or lies == own or own not in known.communities:
            continue
        params = {"code": ground.label[i], "own": known.names.get(own, own), "other": known.names.get(lies, lies)}
        message = N_("Cell {code} lies in {other}; its code says {own}.")
        if not lies:
            message = N_("Cell {code} lies in no community of the district; its code says {own}.")
        yield Finding("elsewhere", "refuses", (i,), ground.shapes[i], message, params)
    present = set(ground.lies)
    asked = known.communities if rules.whole else {code for code in claimed if code in known.communities}
    had = Counter(code[:12] for code in known.cells)
    for code in sorted(set(asked) - present):
        if known.communities[code] is None and not had[code]:
            continue
        broken = tuple(i for i, own in enumerate(claimed) if own == code)
        yield Finding(
            "vanished",
            "refuses",
            broken,
            known.communities[code],
            N_("{community} would be left without any cell; it has {n} today."),
            {"community": known.names.get(code, code), "n": had[code]},
        )


def _enclosed(ground: Ground) -> Iterator[Finding]:
    """Yield cells with holes that other cells fill: allowed, but seldom meant."""
    parts, owner = shapely.get_parts(ground.shapes, return_index=True)
    tree: Any = None
    for part, i in zip(parts, owner, strict=True):
        for ring in part.interiors:
            hole = shapely.Polygon(ring)
            tree = tree if tree is not None else shapely.STRtree(ground.shapes)
            inside = [int(k) for k in tree.query(shapely.point_on_surface(hole), predicate="intersects") if k != i]
            if inside and pieces(hole, ground.plane)[0]:
                yield Finding(
                    "enclosed",
                    "warns",
                    (int(i), inside[0]),
                    hole,
                    N_("Cell {code} lies around cell {other} on all sides."),
                    {"code": ground.label[int(i)], "other": ground.label[inside[0]]},
                )


def _kinds(cells: CellSet, ground: Ground, known: Known) -> Iterator[Finding]:
    """Yield kinds that are none, and those that the places inside contradict (`grid.derive.kinds`)."""
    for i, kind in enumerate(cells.kind):
        if kind and kind not in _KINDS:
            message = N_("Cell {code} has the kind {kind}; it must be residential, commercial, industrial or mixed.")
            yield Finding("kind", "refuses", (i,), cells.geom[i], message, {"code": ground.label[i], "kind": kind[:40]})
    if not len(known.places):
        return
    spoken = known.uses >= 0
    inside = derive.first_hit(ground.shapes, shapely.points(known.places[spoken]))
    uses = known.uses[spoken]
    count = np.bincount(inside[inside >= 0], minlength=len(cells.code))
    computed = derive.kinds(uses, inside, len(cells.code))
    for i, (kind, found) in enumerate(zip(cells.kind, computed, strict=True)):
        if kind not in derive.KINDS or found in ("mixed", kind) or count[i] < _SPEAK:
            continue
        own = int((uses[inside == i] == derive.KINDS.index(kind)).sum())
        yield Finding(
            "kind_places",
            "warns",
            (i,),
            ground.shapes[i],
            N_("Cell {code} is called {kind}, but of the {n} places inside that say a use {own} agree; {found} fits."),
            {"code": ground.label[i], "kind": kind, "found": found, "n": int(count[i]), "own": own},
        )


def _order(cells: CellSet, ground: Ground) -> Iterator[Finding]:
    """Yield communities whose numbers do not go west to east, north to south (S2), with numbers that do.

    However the rows are drawn, a cell that lies both north and west of another one comes before it; only pairs that
    break this are an error. Cells lie north and west by their centroids, and by more than a tenth of their size.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, code in enumerate(ground.lies):
        if code and ground.shapes[i] is not None and cells.code[i].startswith(code):
            members[code].append(i)
    for _, mine in sorted(members.items()):
        mine.sort(key=lambda i: cells.code[i])
        if len({cells.code[i] for i in mine}) < len(mine) or len(mine) < 2:
            continue
        shapes = ground.shapes[mine]
        x, y = shapely.get_coordinates(shapely.centroid(shapes)).T
        clear = 0.1 * float(np.median(np.sqrt(shapely.area(shapes))))
        wrong = np.triu((x[None, :] < x[:, None] - clear) & (y[None, :] > y[:, None] + clear), 1)
        if not wrong.any():
            continue
        first, later = (int(k) for k in np.argwhere(wrong)[0])
        order = derive.number(shapes)
        numbers = sorted(cells.code[i] for i in mine)
        again = {mine[int(k)]: numbers[rank] for rank, k in enumerate(order)}
        yield Finding(
            "order",
            "warns",
            (mine[first], mine[later]),
            shapely.GeometryCollection([ground.shapes[mine[first]], ground.shapes[mine[later]]]),
            N_("Cell {later} lies north-west of {first} but comes after it: numbers go west to east, north to south."),
            {"first": cells.code[mine[first]], "later": cells.code[mine[later]], "n": int(wrong.sum())},
            Fix("number", tuple(again), values=tuple(again.values())),
        )


def _households(cells: CellSet, ground: Ground, known: Known, rules: Rules) -> Iterator[Finding]:
    """Yield residential cells with fewer or more households than the district wants (S2: 200 to 500)."""
    least, most = rules.households
    unknown: dict[str, list[int]] = defaultdict(list)
    for i, (kind, households) in enumerate(zip(cells.kind, cells.households, strict=True)):
        if kind != "residential":
            continue
        if households is None:
            unknown[ground.lies[i]].append(i)
        elif not least <= households <= most:
            params = {"code": ground.label[i], "n": households, "least": least, "most": most}
            message = N_("Cell {code} has {n} households; a residential cell should have {least} to {most}.")
            yield Finding("households", "warns", (i,), ground.shapes[i], message, params)
    for code, members in sorted(unknown.items()):
        yield Finding(
            "households_unknown",
            "warns",
            tuple(members),
            None,
            N_("Nobody counted the households of {n} residential cells of {community}."),
            {"n": len(members), "community": known.names.get(code, code)},
        )


def _owners(cells: CellSet, lies: Sequence[str], known: Known) -> Iterator[Finding]:
    """Yield, by community, the cells in which a duty has no owner."""
    if known.ownerless is None:
        return
    lacking: dict[str, list[int]] = defaultdict(list)
    for i, code in enumerate(cells.code):
        if known.ownerless.get(code):
            lacking[lies[i]].append(i)
    for community, members in sorted(lacking.items()):
        duties = {duty for i in members for duty in known.ownerless[cells.code[i]]}
        yield Finding(
            "owners",
            "warns",
            tuple(members),
            None,
            N_("{n} cells of {community} have a duty without an owner: {duties}."),
            {"n": len(members), "community": known.names.get(community, community), "duties": sorted(duties)},
        )
