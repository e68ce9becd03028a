"""Commands about the telephone: the bridge that signs the events of a switchboard which cannot."""

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from api.cli import app, console
from core.errors import Invalid

_telephone = typer.Typer(help="The telephone.", no_args_is_help=True)
app.add_typer(_telephone, name="telephone")


@_telephone.callback()
def _group() -> None:
    """Group what belongs to the telephone."""


@_telephone.command("bridge")
def bridge(
    url: Annotated[str, typer.Argument(help="https://…/api/v1/telephone/events")],
    key_file: Annotated[Path, typer.Option("--key-file", help="Holds one of WANGGE_TELEPHONE_KEYS.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="On loopback; 0 for any free one.")] = 8098,
) -> None:
    """Take events of a switchboard as forms on loopback, sign them and pass them on, until interrupted."""
    from api import wiring
    from hotline.telephone import hook
    from hotline.telephone.bridge import Bridge, Target

    try:
        keys = hook.keys(key_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid("The file {name} cannot be read.", name=str(key_file)) from error
    if not keys:
        raise Invalid("A key has at least {n} characters.", n=hook.MIN_KEY)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    made = Bridge(Target(url, keys[0]), port=port, now=wiring.now)
    over = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: over.set())
    made.start()
    console.print(f"Listening at http://127.0.0.1:{made.port}/")
    over.wait()
    made.stop()


@_telephone.command("ring")
def ring(
    extension: Annotated[str, typer.Argument(help="Where an operator has taken a seat.")],
    caller: Annotated[str, typer.Option(help="Whose earlier matters the desk will show.")] = "13800138000",
    *,
    rings: Annotated[float, typer.Option(min=0, max=120, help="Seconds until it is picked up.")] = 6,
    talks: Annotated[float, typer.Option(min=0, max=600, help="Seconds until it ends.")] = 30,
    answer: Annotated[bool, typer.Option(help="Whether anybody picks up; otherwise it becomes a call-back.")] = True,
) -> None:
    """Let an invented call come in to the web server of this checkout, as its switchboard would tell it."""
    from api import processes, wiring
    from core.settings import settings
    from hotline.telephone import hook, simulate
    from hotline.telephone.bridge import Target

    keys = hook.keys(settings().telephone_keys.get_secret_value())
    if not keys:
        raise Invalid("There is no key: set WANGGE_TELEPHONE_KEYS and start the web server with it.")
    web = processes.find(settings().var / "run", "web")
    if web is None:
        raise Invalid("The web server of this checkout does not run; start it with `wangge up` or `make demo`.")
    script = simulate.Script(caller, extension, "12345", rings, talks, answered=answer)
    target = Target(f"{web.address}/api/v1/telephone/events", keys[0])
    simulate.play(target, script, now=wiring.now, say=console.print)
