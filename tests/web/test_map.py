"""The map through HTTP: who gets which tile, what is kept and for how long, and that words of people stay words."""

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.routes import tiles as route
from core.actor import system
from core.db import transaction
from dispatch import tallies
from tests import tiny
from tests.builders import make_case, put_away

EVIL = "<script>alert('地图')</script><img src=x onerror=alert(1)>"


@pytest.fixture
def cases(district: tiny.Tiny) -> Iterator[list[str]]:
    """Commit an open case in each town, one with hostile words, and take them away again."""
    who = system(tiny.DISTRICT, "tests")
    # Recorded now: the stamp of kept tiles stands on when things were recorded.
    now = datetime.now(UTC)
    made: list[str] = []
    with transaction(who) as session:
        put_away(session, tiny.DISTRICT)
        for (lng, lat), town in ((district.in_west, tiny.WEST), (district.in_east, tiny.EAST)):
            case = make_case(
                session, district=tiny.DISTRICT, lng=lng, lat=lat, at=now, title=EVIL,
                place_name=EVIL, town_code=town, cell_code=f"{town}001001", category_code="1001",
            )  # fmt: skip
            made.append(case.number)
        tallies.rebuild(session)
    route._stamps.clear()
    yield made
    with transaction(who) as session:
        bound = {"d": tiny.DISTRICT, "n": made}
        # The log is append-only: cases stay and leave the map.
        session.execute(
            text("UPDATE cases SET open = false, geom = NULL WHERE district_code = :d AND number = ANY (:n)"), bound
        )
        tallies.rebuild(session)
    route._stamps.clear()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.settings import settings

    monkeypatch.setattr(settings(), "var", tmp_path)


def _above() -> str:
    import math

    lng, lat = tiny.LNG + 0.02, tiny.LAT + 0.01
    n = 2**11
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * n
    return f"11/{int((lng + 180) / 360 * n)}/{int(y)}"


SignedIn = Callable[[str], TestClient]


def test_outlines_are_public_and_not_sent_twice(client: TestClient) -> None:
    answer = client.get("/map/outline.geojson")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/geo+json")
    assert "public" in answer.headers["cache-control"]
    names = {feature["properties"]["name"] for feature in answer.json()["features"]}
    assert names == {"望湖镇", "临江街道"}
    again = client.get("/map/outline.geojson", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_cells_come_by_town(client: TestClient) -> None:
    answer = client.get(f"/map/cells.geojson?town={tiny.WEST}")
    assert len(answer.json()["features"]) == 4
    assert answer.json()["truncated"] is False
    assert client.get("/map/cells.geojson?town=").status_code == 422
    assert client.get("/map/cells.geojson?town=１２３４５６７８９").status_code == 422
    assert client.get("/map/cells.geojson?town=990200999").status_code == 404


@pytest.mark.parametrize(
    ("login", "layer", "status"),
    [
        ("official", "cases", 200), ("operator", "heat", 200), ("supervisor", "cells", 200),
        ("streets", "cases", 200), ("gridwest", "cells", 200), ("officialeast", "cases", 200),
        ("officialeast", "heat", 403), ("streets", "heat", 403), ("gridwest", "heat", 403),
        ("admin", "cases", 403), ("citizen", "cases", 403), ("citizen", "towns", 200), ("admin", "communities", 200),
        ("official", "entries", 404),
    ],
)  # fmt: skip
def test_each_role_gets_its_layers(signed_in: SignedIn, login: str, layer: str, status: int) -> None:
    assert signed_in(login).get(f"/tiles/{layer}/{_above()}.mvt").status_code == status


def test_nobody_gets_the_ground_and_no_cases(client: TestClient) -> None:
    assert client.get(f"/tiles/towns/{_above()}.mvt").status_code == 200
    for layer in ("cells", "cases", "heat"):
        assert client.get(f"/tiles/{layer}/{_above()}.mvt").status_code in (303, 401)
    assert client.get("/map").status_code in (303, 401)
    assert client.get("/map/report").status_code in (303, 401)


@pytest.mark.parametrize(
    ("square", "status"),
    [("11/2048/0", 404), ("-1/0/0", 404), ("99/0/0", 404), ("a/b/c", 422), ("11/1.5/2", 422), ("9" * 60 + "/0/0", 422)],
)
def test_nonsense_is_no_tile(signed_in: SignedIn, square: str, status: int) -> None:
    assert signed_in("official").get(f"/tiles/cases/{square}.mvt").status_code == status


def test_a_tile_is_kept_until_a_case_changes(signed_in: SignedIn, cases: list[str], monkeypatch: Any) -> None:
    client = signed_in("official")
    address = f"/tiles/cases/{_above()}.mvt"
    first = client.get(address)
    assert cases[0].encode() in first.content
    assert first.headers["cache-control"] == "private, no-cache"
    drawn: list[object] = []
    real = route.tiles.draw
    monkeypatch.setattr(route.tiles, "draw", lambda *a, **k: drawn.append(a) or real(*a, **k))
    # The minute may turn between the two.
    minute = datetime.now(UTC).minute
    assert client.get(address).content == first.content
    assert not drawn or datetime.now(UTC).minute != minute
    assert client.get(address, headers={"If-None-Match": first.headers["etag"]}).status_code in (304, 200)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        case = make_case(
            session, district=tiny.DISTRICT, lng=tiny.LNG + 0.001, lat=tiny.LAT + 0.001, at=datetime.now(UTC)
        )
    route._stamps.clear()
    assert case.number.encode() in client.get(address).content
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        session.execute(
            text("UPDATE cases SET open = false, geom = NULL WHERE district_code = :d AND number = :n"),
            {"d": tiny.DISTRICT, "n": case.number},
        )


def test_a_kept_tile_is_not_handed_to_who_sees_less(signed_in: SignedIn, cases: list[str]) -> None:
    west, east = (number.encode() for number in cases)
    address = f"/tiles/cases/{_above()}.mvt"
    whole = signed_in("official").get(address).content
    assert west in whole
    assert east in whole
    part = signed_in("officialeast").get(address).content
    assert west not in part
    assert east in part
    assert west not in signed_in("streets").get(address).content


class _Page(HTMLParser):
    """What a page loads, its inline scripts, and attributes that would run code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.handlers: list[str] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        self.handlers += [name for name in given if name.startswith("on") or name == "style"]
        self._inside = tag == "script" and "src" not in given
        if self._inside:
            self.inline.append("")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._inside = False


def test_the_live_map_lists_the_same_cases_and_escapes_them(signed_in: SignedIn, cases: list[str]) -> None:
    answer = signed_in("official").get("/map")
    assert answer.status_code == 200
    assert EVIL not in answer.text
    assert "&lt;script&gt;" in answer.text
    for number in cases:
        assert f'data-number="{number}"' in answer.text
    seen = _Page(answer.text)
    assert not seen.inline
    assert not seen.handlers
    assert all(address.startswith("/") and not address.startswith("//") for address in seen.loads if address != "#main")


def test_filters_in_the_address_narrow_the_list(signed_in: SignedIn, cases: list[str]) -> None:
    west, east = cases
    client = signed_in("supervisor")
    assert west not in client.get(f"/map/list?town={tiny.EAST}").text
    assert east in client.get(f"/map/list?town={tiny.EAST}").text
    box = f"{tiny.LNG},{tiny.LAT},{tiny.LNG + 0.02},{tiny.LAT + 0.02}"
    assert west in client.get(f"/map/list?box={box}").text
    assert east not in client.get(f"/map/list?box={box}").text
    assert west not in client.get("/map/list?category=20").text
    assert west in client.get("/map/list?category=10&days=1&state=received&colour=0").text
    # Operators work on a case from here; officials open it to read.
    assert f'href="/desk/case/{west}"' in signed_in("operator").get("/map/list").text
    assert f'href="/cases/{west}"' in signed_in("official").get("/map/list").text


@pytest.mark.parametrize(
    "query", ["colour=9", "state=closed", "days=x", "days=99999", "box=1,2,3", "box=a,b,c,d", "box=9,9,1,1", "box=nan,nan,nan,nan"]
)  # fmt: skip
def test_a_filter_that_means_nothing_is_refused(signed_in: SignedIn, query: str) -> None:
    assert signed_in("official").get(f"/map/list?{query}").status_code == 422


def test_the_report_names_no_foreign_host_and_runs_only_its_own_script(signed_in: SignedIn, cases: list[str]) -> None:
    answer = signed_in("official").get("/map/report")
    assert answer.status_code == 200, answer.text
    seen = _Page(answer.text)
    assert all(address.startswith("/") and not address.startswith("//") for address in seen.loads if address != "#main")
    assert not re.search(r"https?://(?!www\.w3\.org/)", answer.text)
    assert not seen.handlers
    (script,) = seen.inline
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy
    assert cases[0] in script
    assert EVIL not in answer.text
    assert "<img" not in script


def test_words_in_popups_are_escaped_as_text(signed_in: SignedIn, cases: list[str]) -> None:
    (script,) = _Page(signed_in("official").get("/map/report").text).inline
    # JSON for scripts writes & as \u0026: what Leaflet gets is &lt;script&gt;, which shows as typed.
    assert r"\u0026lt;script\u0026gt;alert(" in script
    assert "<script" not in script.lower()


def test_the_report_is_kept_until_the_counts_change(signed_in: SignedIn, cases: list[str], tmp_path: Path) -> None:
    client = signed_in("official")
    kept = tmp_path / "cache" / "report"
    client.get("/map/report")
    (first,) = kept.glob("*.json")
    client.get("/map/report")
    assert [first] == list(kept.glob("*.json"))
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        day = datetime.now(UTC).astimezone(tallies_day()).date().isoformat()
        place = {"lng": tiny.LNG, "lat": tiny.LAT, "cell": f"{tiny.WEST}001001", "category": "1001", "day": day}
        tallies.roll(session, [("case.opened", place)])
    client.get("/map/report")
    assert len(list(kept.glob("*.json"))) == 2
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        tallies.rebuild(session)


def tallies_day() -> Any:
    from api.wording import CHINA

    return CHINA


def test_a_damaged_kept_report_is_drawn_anew(signed_in: SignedIn, cases: list[str], tmp_path: Path) -> None:
    client = signed_in("official")
    client.get("/map/report")
    (kept,) = (tmp_path / "cache" / "report").glob("*.json")
    kept.write_text('{"styles": 3', encoding="utf-8")
    assert client.get("/map/report").status_code == 200
    assert kept.stat().st_size > 100


def test_a_town_official_reports_on_the_own_town_whatever_is_asked(signed_in: SignedIn, cases: list[str]) -> None:
    west, east = cases
    answer = signed_in("officialeast").get(f"/map/report?town={tiny.WEST}").text
    assert east in answer
    assert west not in answer
    assert "望湖</th>" not in answer


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=2026-01-31&to=2026-01-01", 422), ("from=yesterday", 422), ("from=1900-01-01", 422),
        ("town=990200999", 404), ("from=2020-01-01&to=2020-02-01", 200), ("category=%25", 200),
    ],
)  # fmt: skip
def test_a_report_is_asked_for_in_days_that_exist(signed_in: SignedIn, query: str, status: int) -> None:
    assert signed_in("official").get(f"/map/report?{query}").status_code == status


@pytest.mark.parametrize("login", ["streets", "gridwest", "admin", "citizen"])
def test_who_sees_a_part_gets_no_report(signed_in: SignedIn, login: str) -> None:
    assert signed_in(login).get("/map/report").status_code == 403


def test_signing_out_ends_kept_tiles_at_once(signed_in: SignedIn, cases: list[str]) -> None:
    client = signed_in("official")
    address = f"/tiles/cases/{_above()}.mvt"
    assert client.get(address).status_code == 200
    assert client.get(address).status_code == 200
    client.post("/logout", data={"csrf_token": client.headers["X-CSRF-Token"]})
    assert client.get(address).status_code in (303, 401)
