"""Commands about the registers: take a department's list in, hand out templates, show conflicts, invent residents."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from api.cli import app, console
from core.errors import Invalid

if TYPE_CHECKING:
    from grid.registers.importing import Progress

registers = typer.Typer(help="Registers of people, rooms, organisations and parts.", no_args_is_help=True)
app.add_typer(registers, name="registers")
#: Residents of the invented register that the demo loads.
DEMO_PEOPLE: Final = 1_500


@registers.command("import")
def take_in(
    file: Annotated[Path, typer.Argument(help="Excel or CSV file of a department.", exists=True, dir_okay=False)],
    kind: Annotated[str, typer.Option(help="residents, rooms, organisations, tenancies, parts.")] = "residents",
    source: Annotated[str, typer.Option(help="police, civil_affairs, health, housing, …")] = "police",
    *,
    whole: Annotated[bool, typer.Option("--whole", help="The whole list: note whom it no longer names.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Take the right rows although others are wrong.")
    ] = False,
    doubtful: Annotated[
        bool, typer.Option("--doubtful", help="Take wrong identity numbers' rows without them.")
    ] = False,
    marked: Annotated[Path | None, typer.Option(help="Where to write the file with its faults marked.")] = None,
) -> None:
    """Take a department's list in: all of it, or nothing."""
    from grid.registers.importing import Wanted

    wanted = Wanted(kind, source, whole=whole, skip_bad=skip_bad, doubtful=doubtful)
    done = _give(file.read_bytes(), file.name, wanted)
    _told(done)
    if marked and done.has_marked:
        from api import wiring
        from core.actor import system
        from core.db import snapshot
        from grid.registers import importing

        with snapshot(system(wiring.district(), "registers")) as session:
            marked.write_bytes(importing.marked_file(session, done.id)[1])
    if done.state != "done":
        raise typer.Exit(1)


@registers.command()
def template(
    kind: Annotated[str, typer.Argument(help="residents, rooms, organisations, tenancies, parts.")],
    out: Annotated[Path, typer.Argument(help="Where to write the workbook.")],
) -> None:
    """Write an empty workbook to fill in."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.registers import importing, templates

    with snapshot(system(wiring.district(), "registers")) as session:
        out.write_bytes(templates.template(kind, cells=importing.cells_of(session)))
    console.print(f"{out}", markup=False)


@registers.command()
def conflicts() -> None:
    """Show how many fields wait for a decision, by field and department, and how many pairs."""
    from rich.table import Table

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.registers import conflicts as waiting
    from grid.registers import doubts

    table = Table("field", "source", "waiting", title="conflicts")
    with snapshot(system(wiring.district(), "registers")) as session:
        for one in waiting.groups(session):
            table.add_row(one.field, one.source, f"{one.count:,}")
        pairs = doubts.count(session)
    console.print(table)
    console.print(f"{pairs:,} pairs that may be one person")


@registers.command()
def invent(
    people: Annotated[int, typer.Option(min=10, max=200_000, help="How many residents.")] = DEMO_PEOPLE,
    seed: Annotated[int, typer.Option(help="The same seed gives the same people.")] = 7,
) -> None:
    """Fill a fictional district with invented residents from three departments; refused anywhere else."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.models import District

    code = wiring.district()
    with snapshot(system(code, "registers")) as session:
        found = session.get(District, code)
        if found is None or not (found.fictional or found.synthetic_join):
            raise Invalid("Residents are invented only for a district whose pages say that it is for show.")
    for done in invent_once(people, seed=seed):
        _told(done)


def invent_once(people: int = DEMO_PEOPLE, *, seed: int = 7) -> "list[Progress]":
    """Take invented rooms and residents in where no list was taken in yet; return what became of each list."""
    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.registers import fiction, importing, templates
    from grid.registers.importing import Wanted

    code = wiring.district()
    with snapshot(system(code, "registers")) as session:
        if importing.newest(session, limit=1):
            return []
        rooms = fiction.homes_of(session)[: people * 2 // 5 + 10]
    if not rooms:
        raise Invalid("This district has no estates to invent residents for.")
    made = fiction.invent(rooms, people=people, seed=seed)
    data = templates.filled("rooms", fiction.room_rows(rooms))
    done = [_give(data, "虚构房屋清单.xlsx", Wanted("rooms", "housing"))]
    for source, lines in made.lists.items():
        data = templates.filled("residents", fiction.resident_rows(lines))
        wanted = Wanted("residents", source, whole=True, doubtful=True)
        done.append(_give(data, f"虚构人口名单（{_NAMES[source]}）.xlsx", wanted))
    return done


_NAMES: Final[Mapping[str, str]] = {"police": "公安", "civil_affairs": "民政", "health": "卫健"}


def _give(data: bytes, name: str, wanted: object) -> "Progress":
    """Put a list up and take it in here and now."""
    from functools import partial

    from rich.progress import Progress as Bar

    from api import i18n, wiring
    from core.actor import system
    from core.db import snapshot, transaction
    from grid.registers import importing
    from grid.registers.importing import Wanted

    assert isinstance(wanted, Wanted), "the caller makes it"
    code = wiring.district()
    with transaction(system(code, "registers")) as session:
        mine = importing.queue(session, data, name, wanted, at=wiring.now())
    with Bar(console=console, transient=True) as bar:
        bar.add_task(name, total=None)
        # Lists that were put up before come first; another worker may be at one of them.
        while importing.work(code, clock=wiring.now, say=partial(i18n.say, language="zh")) is not None:
            pass
    with snapshot(system(code, "registers")) as session:
        return importing.progress(session, mine)


def _told(done: "Progress") -> None:
    counts = ", ".join(f"{name} {count:,}" for name, count in done.counts.items() if count)
    console.print(f"{done.file_name}: {done.state}; {counts}", markup=False)
    if done.error:
        console.print(str(done.error["message"]), markup=False)
