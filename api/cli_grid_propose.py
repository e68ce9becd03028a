"""Commands that draw cells: proposals for some communities or the whole district, and figures of today's cells."""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from api.cli import console
from api.cli_grid import grid
from core.errors import Invalid

if TYPE_CHECKING:
    from grid.drawing import Figures, Proposal, Site, Weights

#: Notes that are printed; the rest is counted.
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class _Drawn:
    site: "Site"
    proposal: "Proposal"
    today: "Figures | None"
    today_codes: list[str]


@grid.command()
def propose(
    communities: Annotated[list[str] | None, typer.Argument(help="12-digit codes.")] = None,
    town: Annotated[str, typer.Option(help="All communities of a town that have a boundary.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Where the cells are written, GeoJSON as in docs/formats.md.")
    ] = None,
    balance: Annotated[float, typer.Option(min=0, max=10)] = 1.0,
    compactness: Annotated[float, typer.Option(min=0, max=10)] = 1.0,
    lines: Annotated[float, typer.Option(min=0, max=10, help="Boundaries along roads, water and walls.")] = 1.0,
    one_kind: Annotated[float, typer.Option(min=0, max=10)] = 1.0,
    estates: Annotated[float, typer.Option(min=0, max=10)] = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    plan: Annotated[datetime | None, typer.Option(help="Plan the cells as a change for this day, local time.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the planned change.")] = "",
    document: Annotated[str, typer.Option(help="Number of the decision, for the planned change.")] = "",
    *,
    every: Annotated[bool, typer.Option("--all", help="All communities of the district that have a boundary.")] = False,
    cut_large_estates: Annotated[bool, typer.Option("--cut-large-estates")] = False,
) -> None:
    """Draw cells along roads and walls, print their figures beside today's, and write or plan them if asked."""
    from api.wording import CHINA
    from grid.drawing import Weights

    weights = Weights(balance, compactness, lines, one_kind, estates, cut_large_estates)
    began = time.perf_counter()
    drawn = _draw(_chosen(communities or [], town, every=every), weights, seed)
    took = time.perf_counter() - began
    _show(drawn, took)
    if out is not None:
        _write(out, drawn)
        console.print(f"Written: {out}", markup=False)
    if plan is not None:
        moment = plan.replace(tzinfo=CHINA) if plan.tzinfo is None else plan
        console.print(f"Planned change: {_plan(drawn, moment, reason, document)}")


@grid.command("figures")
def show_figures(
    communities: Annotated[list[str] | None, typer.Argument(help="12-digit codes; default: all.")] = None,
    town: Annotated[str, typer.Option(help="All communities of a town.")] = "",
) -> None:
    """Print the figures of today's cells: balance, compactness, real lines, cut estates."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.drawing import figures
    from grid.sites import cells_of, site_of

    found = []
    with snapshot(system(wiring.district(), "command line")) as session:
        for code in _chosen(communities or [], town, every=not communities and not town):
            cells = cells_of(session, code)
            if cells.code:
                found.append(figures(cells, site_of(session, code)))
    _table({"today": found}, "Figures of the cells")


def _chosen(communities: Sequence[str], town: str, *, every: bool) -> list[str]:
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.sites import drawable

    if bool(communities) + bool(town) + every != 1:
        raise Invalid("Name communities, or --town, or --all.")
    if communities:
        return list(communities)
    with snapshot(system(wiring.district(), "command line")) as session:
        return drawable(session, town=town)


def _draw(codes: Sequence[str], weights: "Weights", seed: int) -> list[_Drawn]:
    """Draw the communities side by side, each in a process of its own, with a bar."""
    import os

    from rich.progress import track

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.drawing import figures
    from grid.drawing.apart import propose_apart
    from grid.sites import cells_of, site_of

    with snapshot(system(wiring.district(), "command line")) as session:
        sites = [(site_of(session, code), cells_of(session, code)) for code in codes]

    def one(index: int) -> _Drawn:
        site, today = sites[index]
        made = propose_apart(site, weights, seed=seed)
        return _Drawn(site, made, figures(today, site, weights) if today.code else None, today.code)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        work: Iterable[_Drawn] = pool.map(one, range(len(sites)))
        return list(track(work, description="communities", total=len(sites), console=console))


def _show(drawn: Sequence[_Drawn], took: float) -> None:
    _table(
        {
            "proposed": [one.proposal.figures for one in drawn],
            "today": [one.today for one in drawn if one.today is not None],
        },
        f"{len(drawn)} communities in {took:.1f} s",
    )
    notes = [note for one in drawn for note in one.proposal.notes]
    told = dict.fromkeys(note.message.format_map(note.params) for note in notes)
    for line in list(told)[:_SHOWN]:
        console.print(f"- {line}", markup=False)
    if len(told) > _SHOWN:
        console.print(f"… and {len(told) - _SHOWN} more remarks.")


def _table(rows: dict[str, Sequence["Figures"]], title: str) -> None:
    from rich.table import Table

    table = Table(
        title=title,
        caption="homes: households; within: residential cells inside the limits; cv: variation of the loads; PP: "
        "compactness (Polsby-Popper); lines: inner boundaries along roads, water, walls; cut: estates in several; "
        "whole: cells that hang together",
    )
    heads = ("cells", "homes", "within", "cv", "PP", "lines", "cut", "mixed", "whole")
    for head in ("", *heads):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for name, found in rows.items():
        cells = [cell for one in found for cell in one.cells]
        if not cells:
            continue
        judged = [cell.within for cell in cells if cell.within is not None]
        weighted = [(one.on_lines, len(one.cells)) for one in found if one.on_lines is not None]
        on_lines = sum(share * n for share, n in weighted) / max(sum(n for _, n in weighted), 1)
        mean = sum(cell.load for cell in cells) / len(cells)
        spread = (sum((cell.load - mean) ** 2 for cell in cells) / len(cells)) ** 0.5
        table.add_row(
            name,
            f"{len(cells):,}",
            f"{sum(cell.households for cell in cells):,}",
            f"{sum(judged) / len(judged):.0%} ({len(judged):,})" if judged else "-",
            f"{spread / mean:.2f}" if mean else "-",
            f"{sum(cell.compactness for cell in cells) / len(cells):.2f}",
            f"{on_lines:.0%}" if weighted else "-",
            f"{sum(one.cut_estates for one in found):,}/{sum(one.estates for one in found):,}",
            f"{sum(cell.kind == 'mixed' for cell in cells) / len(cells):.0%}",
            f"{sum(cell.parts == 1 for cell in cells) / len(cells):.0%}",
        )
    console.print(table)


def _write(out: Path, drawn: Sequence[_Drawn]) -> None:
    """Write the cells as `cells.geojson` of a district folder."""
    import orjson
    import shapely

    features = [
        {
            "type": "Feature",
            "properties": {"code": code, "kind": kind, "households": homes},
            "geometry": orjson.Fragment(shape),
        }
        for one in drawn
        for code, kind, homes, shape in zip(
            one.proposal.cells.code,
            one.proposal.cells.kind,
            one.proposal.cells.households,
            shapely.to_geojson(one.proposal.cells.geom),
            strict=True,
        )
    ]
    out.write_bytes(orjson.dumps({"type": "FeatureCollection", "features": features}))


def _plan(drawn: Sequence[_Drawn], moment: datetime, reason: str, document: str) -> str:
    """Plan the cells in place of today's, all of them as one change; return its id."""
    import numpy as np

    from api import wiring
    from core.actor import system
    from core.db import transaction
    from grid.cellset import CellSet
    from grid.changes import Change, plan

    sets = [one.proposal.cells for one in drawn]
    cells = CellSet(
        code=[code for one in sets for code in one.code],
        community=[code for one in sets for code in one.community],
        kind=[kind for one in sets for kind in one.kind],
        geom=np.concatenate([one.geom for one in sets]),
        households=[homes for one in sets for homes in one.households],
    )
    change = Change(
        kind="redraw",
        takes=[code for one in drawn for code in one.today_codes],
        cells=cells,
        valid_from=moment,
        reason=reason,
        document=document,
        estimated=[one.site.basis != "counted" for one in drawn for _ in one.proposal.cells.code],
        derived=all(not len(one.site.roads) for one in drawn),
    )
    with transaction(system(wiring.district(), "command line")) as session:
        return str(plan(session, change, at=wiring.now()))
