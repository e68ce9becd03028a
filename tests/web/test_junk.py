"""No junk, in no field of any route, is answered with an error of our own making (500)."""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from tests.web.conftest import csrf

pytestmark = pytest.mark.web
JUNK = [
    *("", "\u0000", "%", "'", '"', "<script>", "9" * 400, "-1", "1e999", "nan", "²", "٣", "😀", "../../etc/passwd"),
    *("{name}", "{0}", "%s", "\n\r", "a" * 6000, "true", "null", "202611210000017", "0", "１２", "\u202e"),
]
OTHER: list[Any] = ["\ud800", 1, -5, 10**30, 1.5, None, True, [], {}, {"a": "b"}]
#: Streams of news, which end when whoever reads them leaves.
ENDLESS = {"/desk/live", "/phone/live"}
MEMBERS = [
    *("text", "title", "channel", "point", "name", "phone", "action", "expected_version", "fields", "happened_at"),
    *("login", "password", "reported_at", "source_id"),
]


def routes(router: Any) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "original_router"):
            yield from routes(route.original_router)


@pytest.mark.parametrize("seed", range(6))
def test_no_junk_breaks_a_route(client: TestClient, signed_in: Callable[[str], TestClient], seed: int) -> None:
    from api.app import app

    rnd = random.Random(seed)
    browsers = [client, *(signed_in(login) for login in ("operator", "streets", "official"))]
    client.headers["X-CSRF-Token"] = csrf(client)
    number = client.post("/api/v1/reports", json={"text": "滨湖路18号门口的垃圾三天没有清运。"}).json()["number"]
    broken = []
    found = [route for route in routes(app) if route.path not in ENDLESS]
    assert len(found) > 20
    for route in found:
        browser = rnd.choice(browsers)
        path = re.sub(r"\{\w+\}", lambda _: quote(rnd.choice([number, number, *JUNK]), safe=""), route.path)
        needs = route.dependant
        query = {p.alias: rnd.choice(JUNK) for p in needs.query_params if rnd.random() < 0.6}
        method = rnd.choice(sorted(route.methods))
        sent: dict[str, Any] = {}
        if method != "GET" and route.path.startswith("/api"):
            body = {name: rnd.choice([*JUNK, *OTHER]) for name in MEMBERS if rnd.random() < 0.4}
            sent = {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}
        elif method != "GET":
            sent = {"data": {p.alias: rnd.choice([*JUNK, number, "1", "2"]) for p in needs.body_params}}
        answer = browser.request(method, path, params=query, **sent)
        if answer.status_code >= 500:
            broken.append((method, path[:80], query, answer.status_code))
    assert broken == []
