"""The group `wangge grid`; the modules `api.cli_grid_*` add their commands to it."""

import typer

from api.cli import app

grid = typer.Typer(help="The grid: proposals, figures, changes, imports.", no_args_is_help=True)
app.add_typer(grid, name="grid")
