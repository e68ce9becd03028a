"""The database's schema as the models and the migrations have it: brings a database to the newest revision."""

import importlib
import importlib.util
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData

from core.db import Base, make_engine, translated
from core.settings import ROOT

#: Every module that declares tables.
_MODELS = ("grid.models", "dispatch.models", "hotline.models")


def metadata() -> MetaData:
    """Return the metadata with every model of the house imported."""
    for name in _MODELS:
        # A package that stores nothing has no models.
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    return Base.metadata


def config(url: str) -> Config:
    """Return Alembic's configuration for the database at an address (as the owner of its tables)."""
    made = Config(str(Path(ROOT) / "alembic.ini"))
    # A percent sign in a password is configparser's, too.
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to a revision, each revision in a transaction of its own; raises Unavailable."""
    with translated():
        command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision; `base` empties it."""
    with translated():
        command.downgrade(config(url), revision)


def revisions(url: str) -> tuple[str | None, str | None]:
    """Return the revision that the database is at and the newest one there is; raises Unavailable."""
    engine = make_engine(url, pool_size=1)
    try:
        with translated(), engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return current, ScriptDirectory.from_config(config(url)).get_current_head()
