"""`wangge demo`: from nothing to a running district with played matters; does again only what is not done."""

import json
import os
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from api.cli import app, console
from api.cli_servers import begin_servers
from core.actor import Role

#: How far back the played messages are spread, so that the desk shows cases of every age.
_SPAN = timedelta(days=10)
#: The fictional district of a machine without given data.
_SEED, _HOUSEHOLDS, _CASES = 7, 20_000, 2_000
#: login → role, shown name, which unit, whether narrowed to a town.
_PEOPLE: dict[str, tuple[Role, str, str, bool]] = {
    "operator": (Role.OPERATOR, "演示话务员", "", False),
    "unit": (Role.UNIT, "演示经办（部门）", "department", False),
    "town": (Role.UNIT, "演示经办（镇街）", "town_office", False),
    "grid": (Role.GRID_WORKER, "演示网格员", "", True),
    "official": (Role.OFFICIAL, "演示区领导", "", False),
    "supervisor": (Role.SUPERVISOR, "演示督查员", "", False),
    "admin": (Role.ADMIN, "演示管理员", "", False),
}


@app.command()
def demo() -> None:
    """Start everything, load a district where there is none, play matters of every kind once, and say where to look."""
    from api import cli_desk, local, services, wiring

    begin_servers()
    # Nothing leaves the machine: what would is shown under /sink.
    local.remember("WANGGE_SINK", "1")
    # So that `wangge telephone ring` can let a call come in.
    local.remember("WANGGE_TELEPHONE_KEYS", secrets.token_hex(32))
    if not wiring.districts():
        _load_one()
    _items()
    _registers()
    cli_desk.articles()
    _windows()
    key, asked = _open311()
    password = _people()
    _workers()
    _play_once()
    _play_roads_once()
    _mentions()
    _channels(key)
    web = services.start()
    if web.taken:
        console.print(f"Port {web.taken} is taken by something else; the next free one is used.", style="yellow")
    _say_where(web.address, password)
    _say_open311(web.address, key, asked)


def _given() -> Path | None:
    """Return the folder of given data, where this machine has it."""
    from core.settings import settings

    return settings().data if (settings().data / "nanhai" / "communities.csv").exists() else None


def _load_one() -> None:
    from api import cli_district, cli_hotline, wiring
    from core.settings import settings

    given = _given()
    if given:
        if not wiring.model_file():
            console.print("Training the classifier on the given messages, once …")
            cli_hotline.train(None, None)
        cli_district.load(given, None, None)
    else:
        folder = settings().var / "fiction"
        console.print("No given data on this machine: a fictional district is made. Every page says so.")
        cli_district.generate(seed=_SEED, households=_HOUSEHOLDS, cases=_CASES, out=folder)
        cli_district.load(folder, None, None)
    wiring.forget()


def _registers() -> None:
    """Give a district without departments' lists an invented register; every page says that it is for show."""
    from api import cli_registers

    for done in cli_registers.invent_once():
        console.print(f"{done.file_name}: {done.counts.get('rows', 0):,} invented rows taken in.", markup=False)


def _items() -> None:
    """Publish the example items where there are none yet."""
    from sqlalchemy import func, select

    from api import cli_items, wiring
    from core.actor import system
    from core.db import snapshot
    from dispatch.items.models import Item

    code = wiring.district()
    with snapshot(system(code, "demo")) as session:
        known = session.scalar(select(func.count()).where(Item.district_code == code))
    if not known:
        cli_items.load("default", skip_bad=False, lists=None)


def _windows() -> None:
    """Give a district without windows invented ones; every page says that they are."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from dispatch.windows import invent_once

    book = wiring.rulebook()
    with transaction(system(book.district, "demo")) as session:
        if count := invent_once(session, book):
            console.print(f"{count} windows and home visits that take appointments: invented, as every page says.")


def _open311() -> tuple[str, str]:
    """Give the demo one key for Open311 and one service invented questions; return the key and that service's code."""
    from api import wiring
    from core.actor import system
    from core.db import transaction
    from core.settings import settings
    from hotline.open311 import keys, services

    kept = settings().var / "demo-open311-key"
    book = wiring.rulebook()
    with transaction(system(book.district, "demo")) as session:
        services.invent_once(session, book)
        asked = next((one.code for one in services.listed(session, book).values() if one.attributes), "")
        key = kept.read_text(encoding="ascii") if kept.exists() else ""
        # A key of a database that was made anew since holds no longer.
        if keys.find(session, key) is None:
            _, key = keys.add(session, "演示", at=wiring.now())
    with open(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(key)
    return key, asked


def _say_open311(address: str, key: str, asked: str) -> None:
    base = f"{address}/open311/v2"
    console.print(f"Open311 GeoReport v2 at {base}, with the demo's key [bold]{key}[/]; for example:")
    for line in (
        f"  curl {base}/services.json",
        f"  curl {base}/services/{asked}.xml",
        f"  curl {base}/requests.json -d api_key={key} -d service_code={asked} -d 'attribute[size]=few' \\",
        "       --data-urlencode address_string=人民路1号 --data-urlencode description=试报一件",
        f"  curl {base}/requests.json",
    ):
        console.print(line, markup=False, soft_wrap=True)


def _people() -> str:
    """Add the demo accounts that are missing; return their password, drawn once per installation."""
    from sqlalchemy import select

    from api import wiring
    from core.actor import system
    from core.db import transaction
    from core.settings import settings
    from grid.accounts import NewAccount, add, by_login
    from grid.models import Area, Unit

    kept = settings().var / "demo-password"
    if not kept.exists():
        with open(os.open(kept, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123
            file.write("-".join(secrets.token_hex(2) for _ in range(3)))
    password = kept.read_text(encoding="ascii")
    code = wiring.district()
    with transaction(system(code, "demo")) as session:
        for login, (role, name, kind, narrowed) in _PEOPLE.items():
            if by_login(session, login, district=code) is not None:
                continue
            unit = town = ""
            if kind:
                units = select(Unit.code).where(Unit.district_code == code, Unit.kind == kind, Unit.active)
                unit = session.scalar(units.order_by(Unit.code).limit(1)) or ""
            if narrowed:
                towns = select(Area.code).where(Area.district_code == code, Area.level == "town")
                town = session.scalar(towns.order_by(Area.code).limit(1)) or ""
            add(
                session,
                NewAccount(login=login, password=password, role=role, name=name, unit=unit, town=town),
                district=code,
                at=wiring.now(),
            )
    return password


def _workers() -> None:
    """Give the cells invented grid workers, once; every page says that they are."""
    from api import wiring
    from api.playing import workers

    made = workers.play(wiring.rulebook(), at=wiring.now())
    if made.workers:
        console.print(f"{made.workers} invented grid workers answer for {made.cells:,} cells; see /grid.")
    from api.playing import rounds

    walked = rounds.play(wiring.rulebook(), at=wiring.now())
    if walked.runs:
        console.print(f"{walked.runs} invented patrols and {walked.visits} visits of the grid worker; see /field.")


def _play_once() -> None:
    """Play the messages where that was not finished before; print what came of them, then or now."""
    from api import replay, services, wiring
    from core.settings import settings

    marker = settings().var / "run" / f"played-{wiring.district()}.json"
    if marker.exists():
        summary = replay.Summary.of(json.loads(marker.read_text(encoding="utf-8")))
    else:
        # The messages are played into the past: a sweep by the present clock would overtake them.
        services.stop()
        given = _given()
        join = given is not None and not wiring.rulebook().fictional
        fiction = settings().var / "fiction" / "cases.jsonl"
        file = given / "complaints" / "messages_hot.csv" if given and join else fiction
        if join:
            console.print(
                "The messages are real, the addresses are real, and that they belong together is invented: "
                "a synthetic join, as every page says.",
                style="yellow",
            )
        summary = replay.run(file, at=wiring.now(), span=_SPAN, handle=True, join=join, console=console)
        _keep(marker, summary.kept())
    replay.show(summary, console)


def _play_roads_once() -> None:
    """Play side roads, patrol events, applications and requests where that was not finished before.

    What an interrupted run played stays, and the rest is played up to the same moment: each matter has its own dice.
    """
    from api import services, wiring
    from api.playing import matters
    from core.settings import settings

    marker = settings().var / "run" / f"roads-{wiring.district()}.json"
    kept: dict[str, Any] = {"at": wiring.now().isoformat()}
    if marker.exists():
        kept = json.loads(marker.read_text(encoding="utf-8"))
    if "matters" not in kept:
        services.stop()
        _keep(marker, kept)
        played = matters.play(wiring.intake(), at=datetime.fromisoformat(kept["at"]), console=console)
        kept |= {"matters": played.matters, "appointments": played.appointments, "steps": played.steps}
        for refused, count in played.refused.items():
            console.print(f"{count} not played to the end, {refused}", style="yellow", markup=False)
        _keep(marker, kept)
    names = {
        "complaints": "complaints on side roads",
        "patrol": "patrol events",
        "applications": "applications for service items",
        "requests": "requests for government information",
    }
    told = [f"{kept['matters'].get(name, 0)} {words}" for name, words in names.items()]
    console.print(
        f"Played beside them, invented and labelled （演示）: {', '.join(told)}; {kept['appointments']} appointments."
    )


def _mentions() -> None:
    """Play invented mentions on Weibo, once; what units answer to them goes to the sink."""
    from api import wiring
    from api.playing import mentions

    taken = mentions.play(wiring.intake(), at=wiring.now())
    if taken.all:
        console.print(
            f"Mentions on Weibo, invented and labelled （演示）: {taken.cases} cases, {taken.joined} reposts of them, "
            f"{taken.held} held for review; see /weibo."
        )


def _channels(key: str) -> None:
    """Let a few invented reports come by the channels that nothing else uses, once. key: the demo's of Open311."""
    from api import wiring
    from api.playing import channels

    played = channels.play(wiring.intake(), key, at=wiring.now())
    if played.kiosk:
        console.print(
            f"By other channels, invented and labelled （演示）: {played.kiosk} at the kiosk, {played.open311} through "
            f"Open311, {played.rows} rows of a file, {played.calls} missed call; what the desk is told by mail and "
            "WeCom stands under /sink."
        )


def _keep(marker: Path, value: object) -> None:
    marker.parent.mkdir(parents=True, exist_ok=True)
    part = marker.with_suffix(".part")
    part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    part.replace(marker)


def _say_where(address: str, password: str) -> None:
    from rich.table import Table

    where = Table("who", "login", "page", title=f"Wangge 网格 answers at {address}")
    where.add_row("市民 anybody", "—", f"{address}/")
    pages = {
        "operator": "/desk",
        "unit": "/unit",
        "town": "/unit",
        "grid": "/field",
        "official": "/map",
        "supervisor": "/supervise",
        "admin": "/accounts",
    }
    for login, (_, name, _, _) in _PEOPLE.items():
        where.add_row(name, login, address + pages[login])
    where.add_row("窗口 window", "operator", f"{address}/window")
    where.add_row("网格办公室 grid office", "town", f"{address}/grid")
    where.add_row("API", "", f"{address}/api/docs")
    console.print(where)
    console.print(f"Password of every demo login: [bold]{password}[/]   Stop with: make stop")
