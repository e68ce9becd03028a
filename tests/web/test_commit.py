"""An answer that says "done" comes after the commit: where the commit fails, nobody is told that it was done.

A deferred constraint trigger makes the real COMMIT fail, long after the last statement of the endpoint went through.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image
from sqlalchemy import select, text
from starlette.testclient import TestClient

from core import db
from core.ids import new_id
from core.settings import settings
from dispatch.models import Attachment, Case, Outbox
from tests import builders, tiny
from tests.web.conftest import csrf

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
WORDS = "青石街34号门前的井盖缺了一角，夜里看不见。"
#: A server that goes away at the end, and a constraint that speaks at the end.
GONE, BROKEN = "57P01", "23503"


@contextmanager
def commits_fail(sqlstate: str) -> Iterator[None]:
    """Let the COMMIT of every transaction fail that wrote an entry of a case."""
    owner = db.make_engine(settings().owner_url, pool_size=1)
    refuse = f"RAISE EXCEPTION 'refused at the commit' USING ERRCODE = '{sqlstate}'"
    body = f"$$ BEGIN {refuse}; END $$"
    with owner.begin() as link:
        link.execute(text(f"CREATE FUNCTION refuse_late() RETURNS trigger LANGUAGE plpgsql AS {body}"))
        link.execute(
            text(
                "CREATE CONSTRAINT TRIGGER refuse_late AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION refuse_late()"
            )
        )
    try:
        yield
    finally:
        with owner.begin() as link:
            link.execute(text("DROP FUNCTION refuse_late() CASCADE"))
        owner.dispose()


@pytest.fixture
def lax() -> Iterator[TestClient]:
    """Return a browser that gets the answer 500 instead of the exception, as a real one does."""
    from api.app import app

    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as made:
        yield made


def one_case() -> tuple[str, int]:
    """Write a case that lies with a unit; return its number and version."""
    with db.transaction(builders.program(tiny.DISTRICT)) as session:
        at = datetime.now(UTC) - timedelta(hours=1)
        known = {"category_code": "1001", "town_code": tiny.WEST, "state": "dispatched"}
        case = builders.make_case(session, district=tiny.DISTRICT, at=at, unit=tiny.STREETS, **known)
        builders.make_assignment(session, case, tiny.STREETS)
        builders.make_deadline(session, case, "sign", limit="4wh")
        builders.make_deadline(session, case, "reply")
        return case.number, case.version


def stored(number: str) -> tuple[str, int, int]:
    """Return state, version and number of outbox messages of a case."""
    with db.snapshot(builders.program(tiny.DISTRICT)) as session:
        where = (Case.district_code == tiny.DISTRICT, Case.number == number)
        key, state, version = session.execute(select(Case.id, Case.state, Case.version).where(*where)).one()
        told = select(Outbox.id).where(Outbox.district_code == tiny.DISTRICT, Outbox.case_id == key)
        return state, version, len(session.scalars(told).all())


@pytest.mark.parametrize(("sqlstate", "status"), [(GONE, 503), (BROKEN, 500)])
def test_a_step_whose_commit_fails_is_not_said_to_be_done(
    signed_in: SignIn, lax: TestClient, sqlstate: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    number, version = one_case()
    clerk = signed_in("streets")
    lax.cookies.update(clerk.cookies)
    form = {"version": str(version), "seen": "1", "csrf_token": clerk.headers["X-CSRF-Token"]}
    before = stored(number)
    with commits_fail(sqlstate):
        answer = lax.post(f"/unit/{number}/sign", data=form)
    # This one was foreseen.
    caplog.clear()
    assert answer.status_code == status, answer.text
    assert "refused at the commit" not in answer.text
    assert stored(number) == before
    assert clerk.post(f"/unit/{number}/sign", data=form).status_code == 303, "the same form goes through afterwards"
    assert stored(number)[0] == "signed"


@pytest.mark.parametrize(("sqlstate", "status"), [(GONE, 503), (BROKEN, 500)])
def test_the_api_says_done_only_after_the_commit(
    lax: TestClient, sqlstate: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    number, version = one_case()
    login = {"login": "streets", "password": tiny.PASSWORD}
    head = {"Authorization": f"Bearer {lax.post('/api/v1/tokens', json=login).json()['token']}"}
    step = {"action": "sign", "expected_version": version}
    with commits_fail(sqlstate):
        answer = lax.post(f"/api/v1/cases/{number}/actions", json=step, headers=head)
    caplog.clear()
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored(number)[:2] == ("dispatched", version)
    assert lax.post(f"/api/v1/cases/{number}/actions", json=step, headers=head).status_code == 200


def reported() -> list[object]:
    with db.snapshot(builders.program(tiny.DISTRICT)) as session:
        where = (Case.district_code == tiny.DISTRICT, Case.text == WORDS)
        return list(session.scalars(select(Case.id).where(*where)))


def test_a_report_whose_commit_fails_has_no_receipt_and_becomes_one_case_when_sent_again(lax: TestClient) -> None:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(out, "JPEG")
    photo = {"photo": ("a.jpg", out.getvalue(), "image/jpeg")}
    form = {"text": WORDS, "key": str(new_id()), "csrf_token": csrf(lax)}
    with commits_fail(GONE):
        answer = lax.post("/report?lang=en", data=form, files=photo)
        assert answer.status_code == 503, answer.text
        assert "kept in this browser" in answer.text
        assert lax.post("/api/v1/reports", json={"text": WORDS}).status_code == 503
    assert reported() == []
    for _ in range(2):
        again = lax.post("/report", data=form, files=photo)
        assert again.status_code == 303, again.text
    assert len(reported()) == 1
    with db.snapshot(builders.program(tiny.DISTRICT)) as session:
        where = (Attachment.district_code == tiny.DISTRICT, Attachment.case_id.in_(reported()))
        assert len(session.scalars(select(Attachment.id).where(*where)).all()) == 1
