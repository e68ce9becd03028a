"""`wangge grid plan | try | apply | history`: changes of the grid from the command line, as the program."""

import uuid
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import console
from api.cli_grid import grid
from core.errors import Invalid

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from grid.moves import Homes, Move

#: Lines of a list that are printed; the rest is counted.
_SHOWN = 30


@grid.command("plan")
def plan(
    kind: Annotated[str, typer.Argument(help="split, roads, merge, void or describe")],
    cells: Annotated[list[str], typer.Argument(help="Codes of the cells, 15 digits each.")],
    on: Annotated[str, typer.Option(help="Day from which it holds, YYYY-MM-DD.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    document: Annotated[str, typer.Option(help="Number of the decision.")],
    parts: Annotated[int, typer.Option(help="split, roads: how many.")] = 2,
    into: Annotated[str, typer.Option(help="void: who takes the ground.")] = "",
    to: Annotated[str, typer.Option(help="describe: the new kind.")] = "",
    households: Annotated[int | None, typer.Option(help="describe: counted households.")] = None,
    *,
    bare: Annotated[bool, typer.Option("--bare", help="void: the ground stays without a cell.")] = False,
) -> None:
    """Plan a change of the grid for a day and say what it would move; nothing holds before that day."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from grid import changes, versions
    from grid.changes import Change

    day = _midnight(on)
    code = wiring.district()
    with transaction(system(code, "command line")) as session:
        now = versions.today(session, communities=sorted({cell[:12] for cell in cells}))
        asked = {"parts": parts, "into": into, "to": to, "households": households}
        move = _move(session, kind, cells, now, asked)
        change = Change(
            kind=move.kind,
            takes=move.takes,
            cells=move.cells,
            valid_from=day,
            reason=reason,
            document=document,
            bare=bare,
            estimated=move.estimated,
        )
        key = changes.plan(session, change, at=wiring.now())
    console.print(f"Planned: {key}")
    try_out(str(key))


def _move(session: "Session", kind: str, cells: list[str], now: object, asked: dict[str, object]) -> "Move":
    """Return what a command asks for as a move over today's cells."""
    from grid import moves, versions
    from grid.sites import site_of
    from grid.versions import Today

    assert isinstance(now, Today)
    one, parts = cells[0], int(str(asked["parts"]))
    if kind == "merge":
        return moves.merge(now, cells)
    if kind == "void":
        return moves.void(now, one, into=str(asked["into"]))
    if kind == "describe":
        homes = asked["households"]
        return moves.describe(now, one, kind=str(asked["to"]), households=homes if isinstance(homes, int) else None)
    used = versions.used_codes(session, [one[:12]])
    if kind == "roads":
        return moves.split_roads(now, one, site_of(session, one[:12]), parts, used=used)
    if kind == "split":
        return moves.split_count(now, one, parts, used=used, homes=_homes(session, one[:12]))
    raise Invalid("Write split, roads, merge, void or describe.", field="kind")


def _homes(session: "Session", community: str) -> "Homes":
    from grid.moves import Homes
    from grid.sites import site_of

    site = site_of(session, community)
    return Homes(site.points, site.households)


@grid.command("try")
def try_out(change: Annotated[str, typer.Argument(help="Id of the change, as `plan` printed it.")]) -> None:
    """Say what a planned change would move: cells, open cases, people, places. Changes nothing."""
    from rich.table import Table

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from dispatch.regrid import case_effects
    from grid import effects

    with snapshot(system(wiring.district(), "command line")) as session:
        planned = effects.read(session, _id(change))
        told, cases = effects.try_out(session, planned.id, at=wiring.now()), case_effects(session, planned)
    table = Table("cell", "kind", "ha before", "ha after", "households", "after")
    for one in told.cells[:_SHOWN]:
        kind = one.new_kind or one.kind or ""
        areas = ["-" if m2 is None else f"{m2 / 10_000:.2f}" for m2 in (one.m2, one.new_m2)]
        homes = ["-" if n is None else f"{n:,}" for n in (one.households, one.new_households)]
        table.add_row(one.code, kind, *areas, homes[0], ("~" if one.estimated else "") + homes[1])
    console.print(table)
    workers = len({one.account_id for one in told.duties if one.account_id})
    console.print(f"{planned.kind}, {planned.state}, from {planned.valid_from:%Y-%m-%d %H:%M} UTC: {planned.reason}")
    console.print(f"{cases.moving:,} of {cases.open:,} open cases move, {workers:,} workers get other cells.")
    for moved in told.moves:
        if moved.total:
            console.print(f"{moved.table}: {moved.total:,} rows lie in another cell")
    if cases.rules:
        console.print(f"Routing rules that would match nothing: {', '.join(cases.rules)}", style="yellow", markup=False)


@grid.command("apply")
def apply() -> None:
    """Apply the planned changes whose day has come, as the worker does every minute; safe to repeat."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from grid import changes

    with transaction(system(wiring.district(), "command line")) as session:
        done = changes.apply_due(session, at=wiring.now())
    if not done:
        console.print("No change is due.")
    for one in done:
        moved = ", ".join(f"{table} {n:,}" for table, n in one.moved.items() if n)
        console.print(f"{one.id}: {one.state}{f'; moved: {moved}' if moved else ''}")


@grid.command("history")
def history(
    lng: Annotated[float, typer.Argument(help="Longitude.")],
    lat: Annotated[float, typer.Argument(help="Latitude.")],
    datum: Annotated[str, typer.Option(help="WGS84, CGCS2000, GCJ-02 or BD-09.")] = "WGS84",
    on: Annotated[str, typer.Option(help="Only the cell of this day, YYYY-MM-DD.")] = "",
) -> None:
    """Say whose ground a point was, the newest first: "whose was this in March?"."""
    from rich.table import Table

    from api import wiring
    from api.wording import CHINA
    from core.actor import system
    from core.datums import point
    from core.db import snapshot
    from grid import versions

    spot = point(lng, lat, datum, field="lng")
    with snapshot(system(wiring.district(), "command line")) as session:
        if on:
            # Changes begin at midnight: at noon a day is what it was.
            then = versions.cell_at(session, spot.x, spot.y, at=_midnight(on) + timedelta(hours=12))
            found = [then] if then else []
        else:
            found = versions.history(session, spot.x, spot.y)
    if not found:
        console.print("No cell covered this point.")
        return
    table = Table("cell", "kind", "from", "until", "change", "reason", "document", "by")
    for one in found:
        since = f"{one.valid_from.astimezone(CHINA):%Y-%m-%d %H:%M}" if one.valid_from else ""
        until = f"{one.valid_to.astimezone(CHINA):%Y-%m-%d %H:%M}" if one.valid_to else "today"
        table.add_row(one.code, one.kind, since, until, one.change, one.reason, one.document, one.by)
    console.print(table)


def _midnight(written: str) -> datetime:
    from api.wording import CHINA

    try:
        return datetime.combine(date.fromisoformat(written), datetime.min.time(), tzinfo=CHINA)
    except ValueError as error:
        raise Invalid("{day} is no date; write 2026-11-21.", field="on", day=written[:20]) from error


def _id(written: str) -> uuid.UUID:
    try:
        return uuid.UUID(written)
    except ValueError as error:
        raise Invalid("There is no such change of the grid.", field="change") from error
