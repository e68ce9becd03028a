"""The API under hostile input: whatever its own description allows, and what it does not, never breaks the server."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from starlette.testclient import TestClient

from api.app import app
from api.routes.docs import document
from core.ids import new_id
from dispatch.fields import FIELDS
from dispatch.process import process
from tests import tiny

pytestmark = pytest.mark.web

#: The description needs no database, so that tests can be named before there is one.
schema: Any = schemathesis.openapi.from_dict(document(app))
schema.app = app

ROLES = ("operator", "streets", "gridwest", "supervisor", "admin", "official")
_HARD = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def bearers(district: tiny.Tiny) -> dict[str, dict[str, str]]:
    """Return the headers of a signed-in account of every role, and of nobody."""
    del district
    found: dict[str, dict[str, str]] = {"": {}}
    with TestClient(app) as client:
        for login in ROLES:
            answer = client.post("/api/v1/tokens", json={"login": login, "password": tiny.PASSWORD})
            found[login] = {"Authorization": f"Bearer {answer.json()['token']}"}
    return found


@pytest.fixture(scope="module")
def known(district: tiny.Tiny) -> Iterator[dict[str, Any]]:
    """Return a case that is with the streets unit, and its receipt; settled again at the end."""
    del district
    with TestClient(app) as client:
        body = {"text": "滨湖路18号门口的垃圾三天没有清运，味道很大。", "category": "1001"}
        staff = client.post("/api/v1/tokens", json={"login": "operator", "password": tiny.PASSWORD}).json()["token"]
        headers = {"Authorization": f"Bearer {staff}", "Idempotency-Key": str(new_id())}
        receipt = client.post("/api/v1/reports", json=body, headers=headers).json()
        yield receipt
        url = f"/api/v1/cases/{receipt['number']}"
        version = client.get(url, headers=headers).json()["case"]["version"]
        withdraw = {"action": "withdraw", "expected_version": version, "fields": {"reason": "试验结束"}}
        client.post(f"{url}/actions", json=withdraw, headers=headers)


@schema.parametrize()
@_HARD
def test_no_request_breaks_the_server(case: Any, bearers: dict[str, dict[str, str]], known: dict[str, Any]) -> None:
    # A password check and an intake are dear, and the same whoever asks.
    for login in ("",) if case.path.endswith(("/tokens", "/reports", "/understand")) else ("", *ROLES):
        if "number" in (case.path_parameters or {}) and login in ("operator", "streets"):
            case.path_parameters["number"] = known["number"]
        answer = case.call(headers=bearers[login])
        case.validate_response(answer, checks=(not_a_server_error,))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
#: Values that somebody might really send, beside those that nobody would.
VALUES = JSON | st.sampled_from(
    ["", "yes", "5wd", "90nd", "999999wd", tiny.STREETS, tiny.WATER, "5", "110", "\x00", "x" * 6000]
)


@pytest.mark.parametrize("login", ["operator", "streets", "gridwest", "supervisor"])
def test_any_value_in_any_field_of_any_step_is_taken_or_refused(
    login: str, bearers: dict[str, dict[str, str]], known: dict[str, Any]
) -> None:
    url = f"/api/v1/cases/{known['number']}"
    steps = sorted({step.action for step in process("complaint").steps} - {"withdraw", "refuse", "hand_over", "merge"})

    with TestClient(app) as client:

        @settings(_HARD, max_examples=25)
        @given(st.sampled_from(steps), st.dictionaries(st.sampled_from(sorted(FIELDS)), VALUES, max_size=5))
        def tries(action: str, fields: dict[str, Any]) -> None:
            version = client.get(url, headers=bearers["operator"]).json()["case"]["version"]
            given = {"action": action, "expected_version": version, "fields": fields}
            answer = client.post(f"{url}/actions", json=given, headers=bearers[login])
            assert answer.status_code in (200, 400, 403, 404, 409, 422), answer.text
            if answer.status_code != 200:
                assert answer.json()["title"], answer.text

        tries()
