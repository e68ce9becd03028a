"""How Alembic meets the database: as the owner of the tables, patiently for no lock, and blind to PostGIS's own tables.

The caller gives the address as `sqlalchemy.url`; without one the owner's of this checkout is used.
"""

from typing import Any

from alembic import context
from geoalchemy2 import alembic_helpers
from sqlalchemy import Connection, text

from api.schema import metadata
from core.db import make_engine


def _partitions(connection: Connection) -> set[str]:
    """Name the partitions: the program makes them month by month, so no model knows them."""
    return set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))


def _configure(connection: Connection) -> None:
    hidden = _partitions(connection)
    # An open transaction would be taken for the caller's and not be committed by Alembic.
    connection.commit()

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        del parents
        return not (kind == "table" and name in hidden)

    context.configure(
        connection=connection,
        target_metadata=metadata(),
        include_object=alembic_helpers.include_object,
        include_name=include_name,
        process_revision_directives=alembic_helpers.writer,
        render_item=alembic_helpers.render_item,
        # A revision of rows can then see the tables that the one before it made, and a long chain can be resumed.
        transaction_per_migration=True,
    )


def run() -> None:
    """Run the migrations in one session."""
    url = context.config.get_main_option("sqlalchemy.url")
    if not url:
        from api.local import owner_url

        url = owner_url()
    engine = make_engine(url, pool_size=1)
    try:
        with engine.connect() as connection:
            # A migration that waits for a lock makes everybody behind it wait: it gives up instead and is run again.
            connection.execute(text("SET lock_timeout = '5s'"))
            connection.execute(text("SET statement_timeout = '30min'"))
            _configure(connection)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


run()
