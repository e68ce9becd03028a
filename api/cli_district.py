"""Commands about a district's data: load a folder, generate a fictional one, accounts, and trying changed rules."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import app, console
from core.errors import Invalid

if TYPE_CHECKING:
    from dispatch.jobs import Progress

_rules = typer.Typer(help="Routing rules.", no_args_is_help=True)
app.add_typer(_rules, name="rules")
_user = typer.Typer(help="Accounts of people who sign in.", no_args_is_help=True)
app.add_typer(_user, name="user")

#: Changed cases that `rules try` prints; the rest is counted.
_SHOWN = 40


@app.command()
def load(
    folder: Annotated[Path, typer.Argument(help="District folder, see docs/formats.md.")],
    datum: Annotated[
        list[str] | None, typer.Option("--datum", help="FILE=WGS84|GCJ-02|BD-09|CGCS2000; wins over the manifest.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Where refused rows are written.")] = None,
    language: Annotated[str, typer.Option(help="Language of the report: zh or en.")] = "zh",
    *,
    replace_notices: Annotated[
        bool, typer.Option("--replace", help="Take a notice that contradicts the one in force for its year.")
    ] = False,
) -> None:
    """Load a district folder, all of it or nothing; the same folder again changes nothing."""
    from rich.table import Table

    from api import i18n, wiring
    from core.settings import settings
    from dispatch.load import load as load_folder

    if language not in i18n.LANGUAGES:
        raise Invalid("The language must be one of {languages}.", languages=", ".join(i18n.LANGUAGES))
    datums = {}
    for given in datum or []:
        name, separator, value = given.partition("=")
        if not separator:
            raise Invalid("Write --datum FILE=DATUM, not {given}.", given=given)
        datums[name] = value
    target = report or settings().var / "log" / "load-report.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    done = load_folder(
        folder,
        at=wiring.now(),
        datums=datums,
        report_to=target,
        say=partial(i18n.say, language=language),
        replace_notices=replace_notices,
    )
    if not done.changed:
        console.print(f"{done.name} ({done.district}) is loaded already; nothing changed.")
        return
    table = Table("table", "taken", "refused", title=f"{done.name} ({done.district})")
    for name, count in done.counts.items():
        table.add_row(name, f"{count.taken:,}", f"{count.refused:,}")
    console.print(table)
    for message, params in done.notes:
        console.print(message.format_map(params), style="yellow", markup=False)
    if done.report:
        console.print(f"Refused rows with their reasons: {done.report}", markup=False)
    wiring.forget()
    if done.years:
        console.print(f"Notices of {', '.join(map(str, done.years))} are new.")
    waiting = [job for job in _newest_jobs(done.district) if not job.over]
    if waiting:
        console.print(
            "Open deadlines are reckoned anew in the background; each that moves keeps a diff. "
            "Watch it with `wangge jobs`, or do it now with `wangge recompute --wait`."
        )


def _newest_jobs(code: str) -> "Sequence[Progress]":
    from core.actor import system
    from core.db import snapshot
    from dispatch.jobs import newest

    with snapshot(system(code, "command line")) as session:
        return newest(session)


@app.command("jobs")
def list_jobs() -> None:
    """List the newest background jobs of the district with their progress."""
    from rich.table import Table

    from api import wiring

    table = Table()
    for name in ("kind", "state", "done", "moved", "asked at"):
        table.add_column(name, no_wrap=True)
    table.add_column("by")
    table.add_column("error")
    for job in _newest_jobs(wiring.district()):
        done = f"{job.done:,} of {job.total:,}" if job.total is not None else "-"
        table.add_row(
            job.kind,
            job.state,
            done,
            f"{job.moved:,}",
            f"{job.created_at:%m-%d %H:%M} UTC",
            job.asked_by,
            job.error["message"].format_map(job.error["params"]) if job.error else "",
        )
    console.print(table)


@app.command()
def recompute(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Work at it here until it is done, with a bar.")] = False,
) -> None:
    """Reckon all open deadlines anew by today's notices and limits; each that moves keeps a diff."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from api import wiring
    from api.worker import one_slice
    from core.actor import system
    from core.db import snapshot, transaction
    from dispatch.jobs import progress, queue

    code = wiring.district()
    with transaction(system(code, "command line")) as session:
        job = queue(session, "recompute", at=wiring.now(), why={"asked": True})
    if not wait:
        console.print("The job waits for a worker; watch it with `wangge jobs`.")
        return
    columns = (TextColumn("deadlines"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=None)
        while True:
            # A worker may be at it, too: whoever is free takes the next slice.
            if one_slice(code) is None:
                time.sleep(0.5)
            with snapshot(system(code, "command line")) as session:
                now = progress(session, job)
            bar.update(task, completed=now.done, total=now.total)
            if now.over:
                break
    console.print(f"{now.state}: {now.moved:,} of {now.done:,} open deadlines moved, each with a diff.")


@app.command()
def generate(
    *,
    seed: Annotated[int, typer.Option(help="The same seed makes the same district.")] = 7,
    households: Annotated[int, typer.Option(min=100, max=5_000_000)] = 20_000,
    cases: Annotated[int, typer.Option(min=0, max=20_000_000)] = 2_000,
    out: Annotated[Path, typer.Option(help="Folder to write, for `wangge load` and `wangge play`.")] = Path(
        "var/fiction"
    ),
) -> None:
    """Make a fictional district of any size with known truth, and complaint texts that happened nowhere."""
    from api import wiring
    from hotline.fiction import generate as write

    made = write(out, seed=seed, households=households, cases=cases, at=wiring.now())
    console.print(f"A fictional district in {out}: {made}", markup=False)


@_user.command("add")
def add_user(
    login: str,
    role: Annotated[str, typer.Option(help="operator, unit, grid_worker, official, supervisor, admin or citizen")],
    name: Annotated[str, typer.Option(help="Shown in the log.")] = "",
    unit: Annotated[str, typer.Option(help="Code of the unit.")] = "",
    town: Annotated[str, typer.Option(help="9-digit code that narrows the view.")] = "",
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)] = "",
) -> None:
    """Add an account."""
    from api import wiring
    from core.actor import Role, system
    from core.db import transaction
    from grid.accounts import NewAccount, add

    try:
        chosen = Role(role)
    except ValueError as error:
        raise Invalid("There is no role {role}.", role=role) from error
    code = wiring.district()
    new = NewAccount(login=login, password=password, role=chosen, name=name or login, town=town, unit=unit)
    with transaction(system(code, "command line")) as session:
        add(session, new, district=code, at=wiring.now())
    console.print(f"{login} may sign in as {role}.", markup=False)


@_user.command("password")
def change_password(
    login: str,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)] = "",
) -> None:
    """Give an account a new password and end its sessions."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from grid.accounts import set_password

    code = wiring.district()
    with transaction(system(code, "command line")) as session:
        set_password(session, login, password, district=code)
    console.print(f"{login} has a new password; every session of the account is over.", markup=False)


@_user.command("list")
def list_users() -> None:
    """List the accounts of the district."""
    from rich.table import Table
    from sqlalchemy import select

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from grid.models import Account

    code = wiring.district()
    table = Table("login", "role", "name", "unit", "town", "active")
    with snapshot(system(code, "command line")) as session:
        for row in session.scalars(select(Account).where(Account.district_code == code).order_by(Account.login)):
            table.add_row(
                row.login, row.role, row.name, row.unit_code or "", row.town_code, "yes" if row.active else "no"
            )
    console.print(table)


@_rules.command("try")
def try_rules(
    file: Annotated[Path, typer.Argument(help="CSV or YAML with id, category, area, weekdays, hours, unit, note.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="How far back.")] = 31,
) -> None:
    """Show which of the last month's cases a changed rule set would send elsewhere; changes nothing."""
    from rich.table import Table
    from sqlalchemy import select

    from api import wiring
    from core.actor import system
    from core.db import snapshot
    from dispatch.models import Case
    from dispatch.rules import Routed, RuleSet, checked, compare, read_rules

    book = wiring.rulebook()
    categories = {"/".join(book.category_path(code)): code for code in book.categories}
    areas = {node.name: code for code, node in book.areas.items()}
    # People write names; codes are what rules match on.
    rules = [
        replace(rule, category=categories.get(rule.category, rule.category), area=areas.get(rule.area, rule.area))
        for rule in read_rules(file)
    ]
    units = list(book.routing.units.values())
    new: RuleSet = checked(rules, units, categories=book.categories, areas=book.areas)
    since = wiring.now() - timedelta(days=days)
    with snapshot(system(book.district, "command line")) as session:
        rows = session.execute(
            select(
                Case.number, Case.category_code, Case.cell_code, Case.community_code, Case.town_code, Case.received_at
            ).where(Case.district_code == book.district, Case.received_at >= since)
        ).all()
    cases = [
        Routed(r.number, r.category_code or "", r.cell_code or r.community_code or r.town_code or "", r.received_at)
        for r in rows
    ]
    moved = compare(book.routing, new, cases)
    table = Table("case", "category", "area", "now", "then")
    for case, before, after in moved[:_SHOWN]:
        table.add_row(
            case.number,
            "/".join(book.category_path(case.category)),
            case.area,
            book.unit_name(before.unit),
            book.unit_name(after.unit),
        )
    if moved:
        console.print(table)
    console.print(f"{len(moved):,} of {len(cases):,} cases of the last {days} days would go to another unit.")
