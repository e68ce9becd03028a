"""Every page that links lead to, as everybody, in both languages, on a phone and on a desk.

Each page is looked at once by whoever comes to it: no other host is asked, nothing is wrong in the console, no server
error, nothing sticks out sideways on a phone, no word of the other language is left, and axe-core finds no violation in
the light theme nor in the dark one.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.testclient import TestClient

from api import vendor
from core.db import transaction
from core.ids import new_id
from tests import builders, tiny
from tests.web.conftest import csrf
from tests.web.test_words import ALLOWED

pytestmark = pytest.mark.journey

PHONE, DESK = (390, 844), (1366, 768)
#: Whoever signs in (None: nobody) → where they begin; more is found by links.
PEOPLE: dict[str | None, tuple[str, ...]] = {
    None: ("/", "/kiosk", "/apply", "/apply/information", "/progress", "/login", "/api/docs", "/no-such-page"),
    "operator": (
        "/window",
        "/window/new",
        "/desk",
        "/desk/new",
        "/knowledge",
        "/cases",
        "/map",
        "/desk?box=ended",
        "/window/closing",
    ),
    "streets": ("/unit", "/unit?box=all", "/map"),
    "official": ("/map", "/map/report", "/cases", "/"),
    "supervisor": (
        *("/desk", "/cases", "/knowledge", "/knowledge/new", "/import"),
        *("/weibo", "/deliveries", "/deliveries/open311"),
    ),
    "gridwest": ("/patrol", "/window", "/", "/map", "/cases"),
    "admin": ("/", "/grid/editor", "/grid/changes", "/grid/history"),
    "westoffice": (
        "/grid",
        "/training",
        "/training/safety",
        "/certificates/check",
        "/notices",
        "/grid/handover",
        "/grid/plan",
        "/grid/certificates",
    ),
}
LOOKS = (("zh", "light", PHONE), ("en", "dark", DESK), ("en", "light", PHONE))
#: The API's pages are drawn by Swagger UI; how accessible that is, is not ours to say.
FOREIGN = "/api/docs"
#: Pages of each kind that one person looks at.
MOST = 9
#: What stands in these was written by people or named by the district.
DATA = "script, style, noscript, body [lang], .said, .words, .what, .title, code, kbd, pre, .swagger-ui, .leaflet-container"
WORDS = """skip => {
  const seen = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [document.title];
  while (seen.nextNode()) if (!seen.currentNode.parentElement.closest(skip)) found.push(seen.currentNode.data);
  for (const e of document.body.querySelectorAll("[aria-label],[title],[placeholder],[alt]"))
    if (!e.closest(skip)) for (const n of ["aria-label", "title", "placeholder", "alt"]) found.push(e.getAttribute(n) || "");
  return found.join("\\n");
}"""


@pytest.fixture(scope="module", autouse=True)
def matters(district: tiny.Tiny) -> str:
    """Put cases of every state into the district, and return the address of a receipt."""
    at = datetime.now(UTC) - timedelta(hours=2)
    with transaction(builders.program(tiny.DISTRICT)) as session:
        for state in ("received", "dispatched", "signed", "closed"):
            unit = tiny.STREETS if state != "received" else None
            known = {"state": state, "unit": unit, "lng": 113.004, "lat": 23.004, "town_code": tiny.WEST}
            case = builders.make_case(
                session,
                district=tiny.DISTRICT,
                at=at,
                place_name="望湖中学",
                category_code="1001",
                cell_code=f"{tiny.WEST}001001",
                phone="13800138000",
                text="望湖中学门前的垃圾没有清运，味道很大。",
                **known,
            )
            if unit:
                builders.make_assignment(session, case, unit)
            builders.make_deadline(session, case, "reply", limit="5wd")
    from api.app import app

    with TestClient(app, follow_redirects=False) as client:
        form = {"text": "滨湖路18号门口的井盖松动。", "key": str(new_id()), "csrf_token": csrf(client)}
        answer = client.post("/report", data=form)
        assert answer.status_code == 303
        return answer.headers["location"]


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": PHONE[0], "height": PHONE[1]}, locale="zh-CN")
    made.set_default_timeout(30_000)
    yield made
    made.close()


def sign_in(page: Page, server: str, login: str) -> None:
    page.goto(f"{server}/login")
    page.get_by_label("账号").fill(login)
    page.get_by_label("密码").fill(tiny.PASSWORD)
    page.get_by_role("button", name="登录").click()
    page.wait_for_url(lambda address: "/login" not in address)


def kind(address: str) -> str:
    """Return the shape of an address: which page it is, whatever number or filter it is about."""
    parts = urlsplit(address)
    asked = sorted(
        name for name, value in parse_qsl(parts.query) if name in ("box", "case", "next", "number") and value
    )
    return re.sub(r"\d{6,}[0-9X]?|[0-9a-f-]{36}|[\w-]{40,}[\w.-]*", "…", parts.path) + ":" + ",".join(asked)


def links(page: Page, server: str) -> list[str]:
    found = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
    switches = re.compile(r"[?&](lang|type|theme)=")
    files = re.compile(r"/(static|photos|tiles)/|\.(csv|xlsx|json|geojson|pdf)\b")
    ours = [link.split("#")[0] for link in found if link.startswith(f"{server}/")]
    return [link for link in dict.fromkeys(ours) if not switches.search(link) and not files.search(link)]


def left_over(words: str, language: str) -> set[str]:
    """Return words of the other language."""
    if language == "en":
        # Names of the district, its places, people and units are data.
        named = set(re.findall(r"[\u4e00-\u9fff]+", words))
        return {word for word in named if word in CHINESE_UI}
    text = re.sub(r"试验\w+|市民[A-Z\d]+|https?://\S+|\d[\d.,:/-]*\w*", " ", words)
    return {word for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in ALLOWED}


def _chinese_ui() -> set[str]:
    from api.i18n import catalogue

    ours = {text for text in catalogue().values() if re.fullmatch(r"[\u4e00-\u9fff]{2,}", text)}
    # Names that data happen to share with the interface: a unit's, and what the log calls who has no account.
    return ours - {*tiny.CATEGORIES.values(), "区网格中心", "市民"}


CHINESE_UI = _chinese_ui()


@pytest.mark.parametrize("login", PEOPLE, ids=lambda login: login or "nobody")
def test_every_page_that_links_lead_to(context: BrowserContext, server: str, matters: str, login: str | None) -> None:
    page = context.new_page()
    faults: list[str] = []
    if login:
        sign_in(page, server, login)

    def answered(status: int, address: str) -> None:
        if status >= 500 or (status >= 400 and "no-such-page" not in address):
            faults.append(f"{status} {address}")

    def complained(words: str) -> None:
        # The browser itself complains about the page that is not there.
        if "no-such-page" not in page.url:
            faults.append(f"{page.url}: {words}")

    page.on("console", lambda said: complained(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else faults.append(r.url))
    page.on("response", lambda r: answered(r.status, r.url))

    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    waiting = [server + path for path in PEOPLE[login]] + ([server + matters] if login is None else [])
    seen: set[str] = set()
    while waiting and len(seen) < MOST:
        address = waiting.pop(0)
        if kind(address) in seen:
            continue
        seen.add(kind(address))
        for language, theme, (width, height) in LOOKS:
            page.set_viewport_size({"width": width, "height": height})
            display = f"lang={language}&theme={theme}"
            page.goto(f"{address}{'&' if '?' in address else '?'}{display}", wait_until="load")
            page.wait_for_timeout(150)
            if FOREIGN not in address and (language, width) != ("en", PHONE[0]):
                page.evaluate(axe)
                violations = page.evaluate("axe.run(document)")["violations"]
                faults += [f"{page.url}: {v['id']}: {[n['html'][:160] for n in v['nodes']][:3]}" for v in violations]
            if width == PHONE[0]:
                wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                if wide > 0:
                    faults.append(f"{page.url} is {wide} px too wide ({language})")
            if left := left_over(page.evaluate(WORDS, DATA), language):
                faults.append(f"{page.url} ({language}): {sorted(left)}")
        waiting += [link for link in links(page, server) if kind(link) not in seen]
    assert len(seen) >= min(len(PEOPLE[login]), MOST)
    assert faults == []
