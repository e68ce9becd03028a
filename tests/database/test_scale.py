"""The shape that keeps sharding open (SCALE.md rules 1 to 4, 7, 8, 10 to 14), asked of the catalogue and of statements."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, make_url, text
from sqlalchemy.exc import ProgrammingError

from core.actor import Actor, Role
from core.db import make_engine, snapshot, transaction
from core.settings import ROOT, settings
from dispatch import outbox, sheet, tallies, views
from dispatch.recompute import recompute
from dispatch.rulebook import read_rulebook
from dispatch.sweep import sweep
from grid.whereabouts import whereabouts
from maps import tiles
from tests import tiny
from tests.builders import program
from tests.database.test_cases import AT, OPERATOR, STREETS, do, open_one
from tests.database.test_outbox import Kept

pytestmark = pytest.mark.database

#: Tables of the nation, which point to no district.
REFERENCE = {"calendar_notice"}
#: What PostGIS and Alembic bring along.
FOREIGN = {"spatial_ref_sys", "alembic_version"}


@pytest.fixture
def owner(database: str) -> Iterator[Engine]:
    engine = make_engine(settings().owner_url, pool_size=1)
    yield engine
    engine.dispose()


def ask(owner: Engine, sql: str) -> list[tuple[object, ...]]:
    with owner.connect() as link:
        return [tuple(row) for row in link.execute(text(sql))]


def tables(owner: Engine) -> set[str]:
    found = ask(owner, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {str(row[0]) for row in found} - FOREIGN


def test_every_table_of_a_district_has_its_code_first_in_the_key(owner: Engine) -> None:
    keys = dict(
        ask(
            owner,
            "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.indisprimary AND n.nspname = 'public'",
        )
    )
    ours = tables(owner)
    assert ours <= keys.keys(), "every table has a primary key"
    assert {t for t in ours - REFERENCE if keys[t] != "district_code"} == set()


def test_district_code_is_plain_text_never_null_never_generated(owner: Engine) -> None:
    found = ask(
        owner,
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = "
        "'district_code' AND data_type = 'text' AND is_nullable = 'NO' AND is_generated = 'NEVER' "
        "AND domain_name IS NULL AND column_default IS NULL",
    )
    plain = {str(row[0]) for row in found}
    varying = ask(
        owner,
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = "
        "'district_code' AND data_type = 'character varying' AND character_maximum_length IS NULL "
        "AND is_nullable = 'NO' AND is_generated = 'NEVER' AND column_default IS NULL",
    )
    assert plain | {str(row[0]) for row in varying} == tables(owner) - REFERENCE


def test_every_unique_index_holds_the_district(owner: Engine) -> None:
    found = ask(
        owner,
        "SELECT c.relname, i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'public' AND (i.indisunique OR i.indisexclusion) AND NOT EXISTS ("
        "SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'district_code' "
        "AND a.attnum = ANY (i.indkey))",
    )
    assert {row for row in found if row[0] not in REFERENCE | FOREIGN} == set()


def test_foreign_keys_carry_the_district_at_the_same_place_and_set_nothing_null(owner: Engine) -> None:
    found = ask(
        owner,
        "SELECT k.conname, k.confdeltype, "
        "(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]), "
        "(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attnum = k.confkey[1]) "
        "FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace "
        "WHERE k.contype = 'f' AND n.nspname = 'public'",
    )
    assert found, "there are foreign keys to look at"
    for name, on_delete, ours, theirs in found:
        assert (ours, theirs) == ("district_code", "district_code"), name
        assert on_delete not in ("n", b"n"), name


def test_no_table_counts_by_itself(owner: Engine) -> None:
    assert ask(owner, "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'") == []


def test_policies_look_at_own_columns_and_settings_only(owner: Engine) -> None:
    found = ask(owner, "SELECT tablename, policyname, coalesce(qual, '') || coalesce(with_check, '') FROM pg_policies")
    assert len(found) > 20
    for table, name, rule in found:
        assert not re.search(r"\bSELECT\b", str(rule), re.IGNORECASE), (table, name)
    secured = {str(r[0]) for r in ask(owner, "SELECT relname FROM pg_class WHERE relrowsecurity AND relkind = 'r'")}
    assert secured == tables(owner) - REFERENCE


def test_program_owns_nothing_and_cannot_touch_the_log(owner: Engine) -> None:
    name = make_url(settings().database_url).username
    with owner.connect() as link:
        owned = link.execute(
            text("SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname = :n"),
            {"n": name},
        ).scalar_one()
        kept = link.execute(
            text(
                "SELECT has_table_privilege(:n, t, 'UPDATE') OR has_table_privilege(:n, t, 'DELETE') "
                "OR has_table_privilege(:n, t, 'TRUNCATE') FROM unnest(ARRAY['entry', 'disclosure', 'deadline_change']) t"
            ),
            {"n": name},
        ).scalars()
        special = link.execute(
            text("SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = :n"), {"n": name}
        ).scalar_one()
        assert owned == 0
        assert not any(kept)
        assert not special


def test_without_a_scope_no_row_is_seen(database: str, district: tiny.Tiny) -> None:
    engine = make_engine(settings().database_url, pool_size=1)
    with engine.connect() as link:
        for table in ("cases", "account", "entry", "area", "outbox", "district"):
            assert link.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
    engine.dispose()


def test_another_districts_rows_are_neither_seen_nor_written(database: str, district: tiny.Tiny) -> None:
    stranger = Actor(None, "邻区", Role.SYSTEM, "990999")
    with transaction(stranger) as session:
        assert session.execute(text("SELECT count(*) FROM area")).scalar_one() == 0
    foreign = text("INSERT INTO category (district_code, code, level, name) VALUES (:d, '77', 1, 'x')")
    with transaction(stranger) as session, pytest.raises(ProgrammingError, match="row-level security"):
        session.execute(foreign, {"d": tiny.DISTRICT})


#: Statements that name a table of a district.
_TOUCHES = re.compile(r"\b(FROM|JOIN|UPDATE|INTO)\s+\"?(?P<table>[a-z_]+)\"?", re.IGNORECASE)


class Listener:
    """Collects what the program says to the database."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, _c: object, _k: object, statement: str, _p: object, _x: object, _m: object) -> None:
        self.said.append(statement)

    def raw(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """Return what hears the statements that go around SQLAlchemy too."""

        def heard(cursor: Any, statement: bytes, *values: Any, **known: Any) -> Any:
            self.said.append(statement.decode())
            return execute(cursor, statement, *values, **known)

        return heard


def test_every_statement_names_its_district_and_none_sets_scope_behind_its_back(
    owner: Engine, district: tiny.Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main job, the sweep, the relay, worklists and tiles are run, and all that they say is read (rules 11 to 14)."""
    from core.db import engine

    heard = Listener()
    event.listen(engine(), "before_cursor_execute", heard)
    monkeypatch.setattr(psycopg.RawCursor, "execute", heard.raw(psycopg.RawCursor.execute))
    try:
        with snapshot(program(tiny.DISTRICT)) as session:
            book = read_rulebook(session, tiny.DISTRICT)
        case = open_one(book)
        do(book, OPERATOR, case, "correct", 1, urgency="utilities")
        do(book, STREETS, case, "sign", 2)
        do(book, OPERATOR, case, "redispatch", 3, unit=tiny.WATER, reason="水管")
        with transaction(program(tiny.DISTRICT)) as session:
            sweep(session, book, at=AT + timedelta(days=9))
            recompute(session, book, at=AT + timedelta(days=9))
            tallies.rebuild(session)
        outbox.relay(tiny.DISTRICT, Kept(), at=AT + timedelta(days=9))
        outbox.backlog(tiny.DISTRICT)
        outbox.prune(tiny.DISTRICT, before=AT)
        with snapshot(OPERATOR) as session:
            views.worklist(session, views.Filter(box="open"), at=AT)
            views.counts(session, at=AT, soon=AT)
            sheet.sheet(session, case.case_id)
            sheet.progress(session, case.number)
            whereabouts(session, tiny.DISTRICT, *district.in_west)
            for layer in ("cells", "cases", "heat"):
                tiles.draw(session, layer, tiles.Tile(14, 13334, 7107), at=AT)
    finally:
        event.remove(engine(), "before_cursor_execute", heard)
    ours = tables(owner) - REFERENCE
    statements = {s for s in heard.said if any(m["table"].lower() in ours for m in _TOUCHES.finditer(s))}
    assert len(statements) > 25
    assert {s for s in statements if "district_code" not in s} == set()
    assert {s for s in heard.said if "set_config(" in s} == set()
    volatile = re.compile(
        r"(UPDATE|DO UPDATE)\b.*\b(now|clock_timestamp|random|gen_random_uuid)\s*\(", re.IGNORECASE | re.DOTALL
    )
    assert {s for s in statements if volatile.search(s)} == set()


def test_no_code_branches_on_a_constraints_name() -> None:
    folders = ("core", "grid", "dispatch", "hotline", "maps", "api")
    found = [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in Path(ROOT, folder).rglob("*.py")
        if re.search(r"diag\.constraint_name", path.read_text(encoding="utf-8"))
    ]
    assert found == []
