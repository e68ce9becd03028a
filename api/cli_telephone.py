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
