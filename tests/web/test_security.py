"""What keeps the faces safe: signing in, throttling, CSRF, headers, redirects, roles."""

import pytest
from starlette.testclient import TestClient

from tests import tiny
from tests.web.conftest import csrf

pytestmark = pytest.mark.web


def test_right_password_signs_in_and_goes_to_the_roles_face(client: TestClient) -> None:
    form = {"login": "operator", "password": tiny.PASSWORD, "csrf_token": csrf(client)}
    answer = client.post("/login", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/desk"
    assert "试验operator" in client.get("/login").text


def test_wrong_password_says_so_and_signs_nobody_in(client: TestClient) -> None:
    answer = client.post("/login", data={"login": "operator", "password": "not this one", "csrf_token": csrf(client)})
    assert answer.status_code == 401
    assert "wg_session" not in client.cookies
    assert "Login or password is wrong." in answer.text
