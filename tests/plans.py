"""A full table for tests of plans: thousands of analysed cases under row policies, in a transaction that is rolled back.

The program's role may not ANALYZE, and a plan over a handful of rows, or over figures that autovacuum happened to take
from other tests, says nothing. So the owner fills the table, with the policies forced on itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

from core import db
from core.actor import Actor
from core.settings import settings
from tests.builders import DISTRICT, make_case, make_unit, program

_MANY = 6000
#: Made in FROM, once a copy; in the list of columns it would be made anew for every column.
_COPIES = text(
    "WITH pattern AS MATERIALIZED (SELECT to_jsonb(c) AS row FROM cases AS c WHERE c.district_code = :d AND c.id = :id) "
    "INSERT INTO cases SELECT made.* FROM pattern, generate_series(1, :n) AS i, "
    "LATERAL jsonb_populate_record(NULL::cases, row || jsonb_build_object("
    "'id', gen_random_uuid(), 'number', 'n' || i, 'geom', NULL, 'unit_code', 'U' || (1 + i % 20), "
    "'state', (ARRAY['received', 'dispatched', 'signed', 'replied'])[1 + i % 4], "
    "'due_at', timestamptz '2026-11-18 06:00+00' + i * interval '7 minutes', "
    "'open', i % 3 > 0)) AS made"
)
_PLACES = text(
    "UPDATE cases SET geom = ST_SetSRID(ST_MakePoint(113 + random(), 23 + random()), 4490) WHERE district_code = :d"
)


@contextmanager
def full_table(actor: Actor) -> Iterator[Session]:
    """Yield a session in an actor's scope over thousands of cases of many units, places, states and times."""
    engine = db.make_engine(settings().owner_url, pool_size=1)
    try:
        with engine.connect() as connection, connection.begin() as outer:
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                db._enter(session, program(DISTRICT), read_only=False)
                connection.execute(text("ALTER TABLE cases FORCE ROW LEVEL SECURITY"))
                for number in range(1, 21):
                    make_unit(session, f"U{number}")
                case = make_case(session)
                session.flush()
                session.execute(_COPIES, {"d": DISTRICT, "id": case.id, "n": _MANY})
                session.execute(_PLACES, {"d": DISTRICT})
                connection.execute(text("ANALYZE cases"))
                db._enter(session, actor, read_only=False)
                yield session
            outer.rollback()
    finally:
        engine.dispose()
