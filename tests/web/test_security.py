"""What keeps the faces safe: signing in, throttling, CSRF, headers, redirects, roles."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from sqlalchemy import text as sql
from starlette.testclient import TestClient

from api import deps, wiring
from core.actor import Actor, Role, system
from core.db import snapshot, transaction
from core.ids import new_id
from core.settings import settings
from dispatch import cases, sheet
from grid import accounts
from tests import tiny
from tests.web.conftest import csrf

SignIn = Callable[[str], TestClient]

pytestmark = pytest.mark.web


def test_right_password_signs_in_and_goes_to_the_roles_face(client: TestClient) -> None:
    form = {"login": "operator", "password": tiny.PASSWORD, "csrf_token": csrf(client)}
    answer = client.post("/login", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/desk"
    assert "试验operator" in client.get("/login").text


def test_wrong_password_says_so_and_signs_nobody_in(client: TestClient) -> None:
    form = {"login": "operator", "password": "not this one", "csrf_token": csrf(client)}
    answer = client.post("/login?lang=en", data=form)
    assert answer.status_code == 401
    assert "wg_session" not in client.cookies
    assert "Login or password is wrong." in answer.text


def test_tries_are_counted_even_though_they_fail(client: TestClient) -> None:
    token = csrf(client)
    for _ in range(accounts.LOGIN_TRIES):
        client.post("/login", data={"login": "operator", "password": "wrong wrong", "csrf_token": token})
    right = client.post("/login", data={"login": "operator", "password": tiny.PASSWORD, "csrf_token": token})
    assert right.status_code == 429
    other = client.post("/login", data={"login": "supervisor", "password": tiny.PASSWORD, "csrf_token": token})
    assert other.status_code == 303


def test_an_unknown_login_is_answered_like_a_known_one(client: TestClient) -> None:
    token = csrf(client)
    answers = [
        client.post("/login", data={"login": login, "password": "wrong wrong", "csrf_token": token})
        for login in ("operator", "nobodyatall")
    ]
    assert len({answer.status_code for answer in answers}) == 1


def test_signing_out_ends_the_session_here(signed_in: SignIn) -> None:
    client = signed_in("operator")
    assert client.get("/desk").status_code == 200
    assert client.post("/logout").status_code == 303
    assert client.get("/desk").status_code == 303


def test_ending_an_accounts_sessions_ends_cookies_and_tokens(client: TestClient, signed_in: SignIn) -> None:
    browser = signed_in("westoffice")
    body = {"login": "westoffice", "password": tiny.PASSWORD}
    token = client.post("/api/v1/tokens", json=body).json()["token"]
    with transaction(system(tiny.DISTRICT)) as session:
        account = accounts.by_login(session, "westoffice", district=tiny.DISTRICT)
        assert account is not None
        accounts.end_sessions(session, account.id, district=tiny.DISTRICT)
    # A process trusts what it looked up for two seconds.
    deps.forget_here()
    assert browser.get("/unit").status_code == 303
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_session_cookie_is_worthless_in_another_visit(signed_in: SignIn, client: TestClient) -> None:
    stolen = signed_in("operator").cookies["wg_session"]
    client.cookies.set("wg_session", stolen)
    assert client.get("/desk").status_code == 303


def test_cookies_are_not_for_scripts_and_not_for_other_sites(client: TestClient) -> None:
    form = {"login": "operator", "password": tiny.PASSWORD, "csrf_token": csrf(client)}
    for cookie in client.post("/login", data=form).headers.get_list("set-cookie"):
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


@pytest.mark.parametrize("path", ["/login", "/report", "/progress", "/understand", "/logout"])
def test_no_unsafe_page_request_without_its_token(client: TestClient, path: str) -> None:
    assert client.post(path, data={"text": "路灯不亮了", "login": "operator"}).status_code == 403
    client.get("/login")
    assert client.post(path, data={"csrf_token": "0" * 40}).status_code == 403


def test_a_token_of_another_visit_is_refused(client: TestClient, signed_in: SignIn) -> None:
    foreign = csrf(client)
    browser = signed_in("operator")
    del browser.headers["X-CSRF-Token"]
    assert browser.post("/logout", data={"csrf_token": foreign}).status_code == 403


def test_the_api_takes_no_cookie_without_the_header(signed_in: SignIn) -> None:
    browser = signed_in("operator")
    body = {"text": "青石街30号井盖坏了", "channel": "hotline"}
    assert browser.post("/api/v1/reports", json=body).status_code == 201
    del browser.headers["X-CSRF-Token"]
    assert browser.post("/api/v1/reports", json=body).status_code == 403


@pytest.mark.parametrize("path", ["/", "/login", "/progress", "/nothing-here", "/api/v1/nothing", "/static/wangge.css"])
def test_every_answer_carries_the_strict_policy(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/login", "/progress", "/api/docs"])
def test_pages_have_no_inline_script_or_style_and_name_no_other_host(client: TestClient, path: str) -> None:
    page = client.get(path).text
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert "<style" not in page
    assert not re.search(r"\s(?:style|on\w+)=", page)
    assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", page)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/%0d%0a",
        " /x",
    ],
)
def test_signing_in_leads_to_no_other_site(client: TestClient, target: str) -> None:
    form = {"login": "operator", "password": tiny.PASSWORD, "next": target, "csrf_token": csrf(client)}
    location = client.post("/login", data=form).headers["location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert "\r" not in location


def test_one_comes_back_to_where_one_wanted_to_go(client: TestClient) -> None:
    answer = client.get("/desk?box=waiting")
    assert answer.status_code == 303
    found = re.search(r"next=(.+)", answer.headers["location"])
    assert found
    form = {"login": "operator", "password": tiny.PASSWORD, "next": unquote(found[1]), "csrf_token": csrf(client)}
    assert client.post("/login", data=form).headers["location"] == "/desk?box=waiting"


def test_a_part_of_a_page_leads_the_whole_page_to_the_sign_in(client: TestClient) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "https://district.example/desk?box=waiting"}
    answer = client.get("/desk/list", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/login?next=/desk%3Fbox%3Dwaiting"


def test_over_tls_cookies_and_hosts_are_bound_to_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "secure_cookies", True)
    answer = client.get("/login")
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


#: face → roles that may open it; everybody else is told so.
FACES = {
    "/desk": {"operator", "supervisor"},
    "/unit": {"streets", "water", "westoffice"},
}


@pytest.mark.parametrize("login", sorted(tiny.PEOPLE))
def test_every_role_opens_its_faces_and_no_other(signed_in: SignIn, login: str) -> None:
    client = signed_in(login)
    assert client.get("/").status_code == 200
    for face, logins in FACES.items():
        expected = 200 if login in logins else 403
        assert client.get(face).status_code == expected, face


@pytest.mark.parametrize("login", sorted(tiny.PEOPLE))
def test_every_role_sees_the_cases_of_its_scope_and_no_other(client: TestClient, signed_in: SignIn, login: str) -> None:
    west = _report(client, "滨湖路18号门口的垃圾没人清运。", tiny.Tiny().in_west)
    east = _report(client, "临江公园旁自来水管爆裂，一直停水。", tiny.Tiny().in_east)
    _send_to(west, tiny.STREETS)
    _send_to(east, tiny.WATER)
    browser = signed_in(login)
    seen = {name for name, number in (("west", west), ("east", east)) if _sees(browser, number)}
    assert seen == {
        "operator": {"west", "east"},
        "supervisor": {"west", "east"},
        "official": {"west", "east"},
        "officialeast": {"east"},
        "streets": {"west"},
        "water": {"east"},
        "gridwest": {"west"},
    }.get(login, set())


@pytest.mark.parametrize("login", ["official", "gridwest", "streets", "admin", "citizen"])
def test_no_role_does_what_is_not_its_own(client: TestClient, signed_in: SignIn, login: str) -> None:
    number = _report(client, "滨湖路26号门口的垃圾没人清运。", tiny.Tiny().in_west)
    _send_to(number, tiny.STREETS)
    browser = signed_in(login)
    for action in ("close", "refuse", "redispatch", "callback", "reopen", "correct", "hand_over"):
        body = {"action": action, "expected_version": 1, "fields": {"reason": "试试看"}}
        status = browser.post(f"/api/v1/cases/{number}/actions", json=body).status_code
        assert status in (403, 404, 409, 422), action
    version, state = _version(number)
    assert state == "dispatched"
    for action in ("close", "refuse", "redispatch", "correct"):
        body = {"action": action, "expected_version": version, "fields": {"reason": "试试看"}}
        assert browser.post(f"/api/v1/cases/{number}/actions", json=body).status_code in (403, 404, 409), action
    assert _version(number) == (version, state)


def test_row_policies_hold_even_where_the_program_forgets_its_own_condition() -> None:
    """The second lock: a bare SELECT of every case shows a narrow role nothing but its own."""
    for login in ("streets", "gridwest", "officialeast", "citizen", "admin"):
        role, unit, town = tiny.PEOPLE[login]
        actor = Actor(new_id(), login, role, tiny.DISTRICT, town=town, unit=unit)
        with snapshot(actor) as session:
            rows = session.execute(sql("SELECT unit_codes, town_code FROM cases")).all()
        for row in rows:
            assert (unit and unit in row.unit_codes) or (town and row.town_code == town), login
        if login in ("citizen", "admin"):
            assert not rows


def _report(client: TestClient, text: str, spot: tuple[float, float]) -> str:
    point = {"lng": spot[0], "lat": spot[1], "datum": "WGS84"}
    answer = client.post("/api/v1/reports", json={"text": text, "point": point})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["number"])


def _version(number: str) -> tuple[int, str]:
    with snapshot(system(tiny.DISTRICT)) as session:
        found = sheet.progress(session, number)
    return found.version, found.state


def _send_to(number: str, unit: str) -> None:
    """Let the desk send a case to a unit, unless the rules did."""
    with snapshot(system(tiny.DISTRICT)) as session:
        found = sheet.progress(session, number)
        if sheet.facts(session, found.id).unit_code == unit:
            return
    operator = Actor(new_id(), "话务员", Role.OPERATOR, tiny.DISTRICT)
    action = "dispatch" if found.state == "received" else "redispatch"
    fields = {"unit": unit} | ({} if action == "dispatch" else {"reason": "试"})
    with transaction(operator) as session:
        cases.act(
            session,
            wiring.rulebook(),
            found.id,
            action,
            expected_version=found.version,
            at=datetime.now(UTC),
            fields=fields,
        )


def _sees(browser: TestClient, number: str) -> bool:
    return browser.get(f"/api/v1/cases/{number}").status_code == 200


@pytest.mark.parametrize(
    ("login", "path"),
    [
        ("supervisor", "/weibo/ledger.csv"),
        ("supervisor", "/supervise/late.csv"),
        ("supervisor", "/import/model.csv"),
        ("operator", "/api/v1/cases"),
    ],
)
def test_no_cache_of_a_shared_computer_keeps_what_only_staff_may_read(
    signed_in: Callable[[str], TestClient], login: str, path: str
) -> None:
    answer = signed_in(login).get(path)
    assert answer.status_code == 200, answer.text[:200]
    assert "no-store" in answer.headers["cache-control"]
