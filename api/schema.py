"""The database's schema as the models and the migrations have it: brings a database to the newest revision."""

import importlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData, text

from core.db import Base, make_engine, translated
from core.settings import ROOT

if TYPE_CHECKING:
    from alembic.config import Config

#: Every module that declares tables.
_MODELS = (
    "grid.models",
    "grid.version_models",
    "grid.registers.models",
    "grid.registers.list_models",
    "grid.duty_table",
    "grid.notices",
    "grid.training_tables",
    "grid.lines",
    "grid.field_models",
    "grid.imports_tables",
    "dispatch.models",
    "dispatch.tallies",
    "dispatch.items.models",
    "dispatch.items.application_models",
    "dispatch.appointments",
    "dispatch.anchors",
    "dispatch.jobs",
    "dispatch.voice",
    "hotline.models",
    "hotline.learning",
    "hotline.aliases",
    "hotline.telephone.models",
    "hotline.outward.models",
    "hotline.weibo.models",
    "hotline.open311.models",
    "hotline.hot_matters",
    "hotline.desk.models",
)


def metadata() -> MetaData:
    """Return the metadata with every model of the house imported."""
    for name in _MODELS:
        # A package that stores nothing has no models.
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    return Base.metadata


def config(url: str) -> "Config":
    """Return Alembic's configuration for the database at an address (as the owner of its tables)."""
    from alembic.config import Config

    made = Config(str(Path(ROOT) / "alembic.ini"))
    # A percent sign in a password is configparser's, too.
    made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database up to a revision, each revision in a transaction of its own; raises Unavailable."""
    from alembic import command

    with translated():
        command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision; `base` empties it."""
    from alembic import command

    with translated():
        command.downgrade(config(url), revision)


def revisions(url: str) -> tuple[str | None, str | None]:
    """Return the revision that the database is at and the newest one there is; raises Unavailable.

    Asked at every start, so it reads the files' own lines and leaves Alembic, a second of imports, aside.
    """
    engine = make_engine(url, pool_size=1)
    try:
        with translated(), engine.connect() as connection:
            current = None
            if connection.scalar(text("SELECT to_regclass('alembic_version')")) is not None:
                current = connection.scalar(text("SELECT version_num FROM alembic_version"))
    finally:
        engine.dispose()
    return current, newest()


def newest() -> str | None:
    """Return the revision that no other one follows; None when there is none at all."""
    lines = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "api/migrations/versions").glob("*.py"))
    made = set(re.findall(r'^revision(?:: str)? = "(\w+)"', lines, re.MULTILINE))
    followed = set(re.findall(r'^down_revision(?:: [^=]+)? = "(\w+)"', lines, re.MULTILINE))
    return max(made - followed, default=None)
