"""`wangge doctor` sees each of the things that silently go wrong."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import make_url

from api import doctor, local
from core.settings import settings

pytestmark = pytest.mark.database

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@pytest.fixture
def owner(database):
    """A connection as the owner whose changes are taken back."""
    url = make_url(local.owner_url()).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as session:
        yield session
        session.rollback()


def _notice(session, *years):
    session.execute("DELETE FROM calendar_notice")
    for year in years:
        session.execute(
            "INSERT INTO calendar_notice (year, source, digest, off, work, loaded_at) VALUES (%s, '', '', '{}', '{}', %s)",
            (year, NOW),
        )


def test_a_migrated_private_database_has_no_fault_of_its_own(database):
    found = {finding.about: finding for finding in doctor.examine(NOW)}
    for about in ("schema", "Chinese trigrams", "PostGIS", "durability", "program's role"):
        assert found[about].verdict is doctor.Verdict.GOOD, found[about].said


#: A year that no notice shipped with the program will reach for long.
LATER = NOW.replace(year=2041)


def test_a_year_without_notice_is_a_fault(owner):
    _notice(owner, 2040)
    assert doctor._notices(owner, LATER).verdict is doctor.Verdict.FAULT


def test_notices_shipped_with_the_program_count(owner):
    _notice(owner)
    assert doctor._notices(owner, NOW).verdict is doctor.Verdict.GOOD


@pytest.mark.parametrize(("month", "verdict"), [(6, doctor.Verdict.GOOD), (12, doctor.Verdict.WARNING)])
def test_next_years_notice_is_missed_only_when_it_is_due(owner, month, verdict):
    _notice(owner, 2041)
    finding = doctor._notices(owner, LATER.replace(month=month))
    assert finding.verdict is verdict
    assert "2042 is not loaded" in finding.said


def test_the_year_is_that_of_shanghai(owner):
    _notice(owner, 2041, 2042)
    new_year_in_shanghai = datetime(2042, 12, 31, 17, tzinfo=UTC)
    assert "no notice for 2043" in doctor._notices(owner, new_year_in_shanghai).said


@pytest.mark.parametrize(("age", "verdict"), [(1, doctor.Verdict.GOOD), (6, doctor.Verdict.FAULT)])
def test_an_effect_that_waits_too_long_is_a_fault(owner, age, verdict):
    owner.execute("DELETE FROM outbox")
    owner.execute(
        "INSERT INTO outbox (district_code, id, topic, payload, created_at)"
        " VALUES ('990101', gen_random_uuid(), 'test', '{}', %s)",
        (NOW - timedelta(minutes=age),),
    )
    assert doctor._outbox(owner, NOW).verdict is verdict


def test_a_role_that_owns_tables_is_a_fault(owner, monkeypatch):
    assert doctor._role(owner, NOW).verdict is doctor.Verdict.GOOD
    monkeypatch.setattr(settings(), "database_url", local.owner_url())
    finding = doctor._role(owner, NOW)
    assert finding.verdict is doctor.Verdict.FAULT
    assert "owns" in finding.said


def test_jit_that_is_on_is_said(owner):
    owner.execute("SET LOCAL jit = on")
    assert doctor._jit(owner, NOW).verdict is doctor.Verdict.WARNING


def test_a_database_that_is_down_is_one_fault_and_the_rest_is_still_checked(database, monkeypatch):
    monkeypatch.setenv("WANGGE_OWNER_URL", "postgresql+psycopg://nobody@/nothing?host=/nowhere")
    settings.cache_clear()
    try:
        found = {finding.about: finding for finding in doctor.examine(NOW)}
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert found["database"].verdict is doctor.Verdict.FAULT
    assert "disk" in found
