"""Through HTTP: a client per role, signed in as a person would, over the committed tiny district."""

import re
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from tests import tiny


@pytest.fixture(autouse=True, scope="module")
def _ground(district: tiny.Tiny) -> None:
    """Every web test stands on the tiny district."""


@pytest.fixture(autouse=True)
def _no_surprises(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test whose request ended in an error that nobody foresaw."""
    yield
    # `caplog.records` are those of the present phase, and this one is the teardown.
    said = [record.getMessage() for phase in ("setup", "call") for record in caplog.get_records(phase)]
    unforeseen = [line for line in said if line.startswith("unforeseen")]
    assert not unforeseen, unforeseen


@pytest.fixture(autouse=True)
def _no_waiting(district: tiny.Tiny) -> None:
    """Forget every counted try, so that signing in often is not throttled between tests."""
    from sqlalchemy import text

    from core.actor import system
    from core.db import transaction

    with transaction(system(tiny.DISTRICT, "tests")) as session:
        session.execute(text("DELETE FROM throttle WHERE district_code = :d"), {"d": tiny.DISTRICT})


@pytest.fixture
def client(district: tiny.Tiny) -> Iterator[TestClient]:
    """Return a browser with nothing in it, that does not follow redirects by itself."""
    from api.app import app

    with TestClient(app, follow_redirects=False) as made:
        yield made


def csrf(client: TestClient) -> str:
    """Return the token of the client's visit, from a page as a browser would have it."""
    page = client.get("/login").text
    found = re.search(r'name="csrf-token" content="([0-9a-f]+)"', page)
    assert found
    return found[1]


@pytest.fixture
def signed_in(district: tiny.Tiny) -> Iterator[Callable[[str], TestClient]]:
    """Return a function: login of `tiny.PEOPLE` → client signed in through the form, with the CSRF header set."""
    from api.app import app

    made: list[TestClient] = []

    def sign_in(login: str) -> TestClient:
        client = TestClient(app, follow_redirects=False)
        made.append(client)
        form = {"login": login, "password": tiny.PASSWORD, "csrf_token": csrf(client)}
        answer = client.post("/login", data=form)
        assert answer.status_code == 303, answer.text
        client.headers["X-CSRF-Token"] = csrf(client)
        return client

    yield sign_in
    for client in made:
        client.close()
