"""The administrator's background jobs, on the page and in the API."""

from collections.abc import Callable

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api import wiring
from core.db import transaction
from dispatch import jobs
from tests import tiny
from tests.builders import program

pytestmark = pytest.mark.web
SignIn = Callable[[str], TestClient]


@pytest.fixture
def admin(signed_in: SignIn) -> TestClient:
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text("UPDATE job SET state = 'cancelled', finished_at = :at WHERE finished_at IS NULL"),
            {"at": wiring.now()},
        )
        # Other tests ask for jobs at days to come; those of this test stand first.
        session.execute(text("UPDATE job SET created_at = timestamptz '2026-01-01 00:00+00'"))
    return signed_in("admin")


def test_administrator_asks_for_a_job_sees_its_progress_and_stops_it(admin: TestClient) -> None:
    assert admin.post("/admin/jobs").status_code == 303
    shown = admin.get("/admin/jobs").text
    assert "排队中" in shown
    assert "hx-trigger" in shown, "the page looks again while something runs"
    job = admin.get("/api/v1/jobs").json()[0]
    assert (job["state"], job["done"], job["total"]) == ("queued", 0, None)
    with transaction(program(tiny.DISTRICT)) as session:
        jobs.work(session, wiring.rulebook(), at=wiring.now() + jobs.SETTLE)
    assert admin.post(f"/admin/jobs/{job['id']}/cancel").status_code in (303, 409)
    assert "hx-trigger" not in admin.get("/admin/jobs/rows").text


def test_failed_job_says_why_in_the_readers_language(admin: TestClient) -> None:
    assert admin.post("/api/v1/jobs").status_code == 202
    with transaction(program(tiny.DISTRICT)) as session:
        session.execute(
            text(
                "UPDATE job SET state = 'failed', finished_at = :at, error = :e WHERE district_code = :d "
                "AND state = 'queued'"
            ),
            {
                "at": wiring.now(),
                "d": tiny.DISTRICT,
                "e": '{"message": "There is no limit for the clock {clock}.", "params": {"clock": "sign"}}',
            },
        )
    assert "sign" in admin.get("/admin/jobs").text
    assert admin.get("/api/v1/jobs").json()[0]["error"].count("sign") == 1


def test_second_cancel_is_a_conflict_and_an_unknown_job_is_not_found(admin: TestClient) -> None:
    job = admin.post("/api/v1/jobs").json()["id"]
    assert admin.post(f"/api/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert admin.post(f"/api/v1/jobs/{job}/cancel").status_code == 409
    assert admin.get("/api/v1/jobs/00000000-0000-7000-8000-000000000000").status_code == 404


@pytest.mark.parametrize("login", ["operator", "supervisor", "official", "streets", "gridwest"])
def test_nobody_else_sees_or_starts_jobs(signed_in: SignIn, login: str) -> None:
    other = signed_in(login)
    assert other.get("/admin/jobs").status_code == 403
    assert other.post("/admin/jobs").status_code == 403
    assert other.get("/api/v1/jobs").status_code == 403
    assert other.post("/api/v1/jobs").status_code == 403
