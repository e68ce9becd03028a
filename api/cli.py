"""The `wangge` command: puts the groups of commands together and turns the house's errors into one red line.

Each `api/cli_*.py` declares its commands with `@app.command()` on the app it imports from here, and is named in
`_GROUPS`. Modules that are slow to import are imported inside the commands, so that `wangge --help` stays quick.
"""

import importlib
import sys

import typer
from rich.console import Console

from core.errors import Invalid, Unavailable, WanggeError

#: Every command prints through these, so that colours and widths agree.
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

app = typer.Typer(
    name="wangge",
    help="Wangge 网格: the working system of a city district.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

#: Modules that add commands to `app`.
_GROUPS = (
    "api.cli_servers",
    "api.cli_district",
    "api.cli_hotline",
    "api.cli_items",
    "api.cli_demo",
    "api.cli_audit",
    "api.cli_windows",
    "api.cli_telephone",
    "api.cli_desk",
    "api.cli_training",
    "api.cli_open311",
    "api.cli_weibo",
    "api.cli_registers",
    "api.cli_grid",
    "api.cli_grid_propose",
    "api.cli_grid_time",
    "api.cli_grid_files",
)


def main() -> None:
    """Run the command line; exit 2 for wrong input or something missing, 1 for any other refusal."""
    for name in _GROUPS:
        importlib.import_module(name)
    try:
        app(prog_name="wangge")
    except WanggeError as error:
        errors.print(f"[bold red]{type(error).__name__}[/] ", end="")
        errors.print(str(error), markup=False)
        sys.exit(2 if isinstance(error, Invalid | Unavailable) else 1)
