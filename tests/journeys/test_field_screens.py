"""Every screen of the worker's phone at 360 px: both languages, large type, dark and sunlight; nothing sticks out.

With WANGGE_FIELD_PICTURES set to a folder, the screens are drawn into it and nothing else (`docs/screenshots/field.py`).
"""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from api import vendor
from tests import tiny
from tests.journeys.field_day import furnish
from tests.journeys.field_ground import PATIENCE_MS, SMALL
from tests.journeys.test_every_page import DATA, WORDS, left_over

pytestmark = pytest.mark.journey
#: language, type, theme, and the ending of the pictures' names; None: looked at, and no picture.
LOOKS = (
    ("zh", "normal", "light", "zh"),
    ("en", "normal", "light", "en"),
    ("zh", "large", "light", "large"),
    ("zh", "normal", "dark", None),
    ("en", "large", "sun", None),
)
FOLDER = os.environ.get("WANGGE_FIELD_PICTURES", "")
LARGE_TAPS = """() => [...document.querySelectorAll("main button, main a, main select, main summary, main label:has(input), #ways > *, .head a, .head button")]
  .filter((one) => one.checkVisibility() && !one.closest(".leaflet-container"))
  .map((one) => [one.outerHTML.slice(0, 90), Math.round(one.getBoundingClientRect().height)]).filter(([, high]) => high < 48)"""


@pytest.fixture(scope="module", autouse=True)
def _day(district: tiny.Tiny) -> None:
    furnish()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(
        viewport=SMALL,
        device_scale_factor=1,
        is_mobile=True,
        has_touch=True,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        service_workers="block",
        bypass_csp=True,
        geolocation={"longitude": tiny.LNG + 0.0035, "latitude": tiny.LAT + 0.0036, "accuracy": 14},
        permissions=["geolocation"],
    )
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


def photo() -> dict[str, object]:
    """Return an invented photo: a grey road and a lid that is not where it should be."""
    drawn = Image.new("RGB", (640, 480), (122, 124, 126))
    drawn.paste((70, 72, 74), (220, 200, 430, 360))
    drawn.paste((30, 30, 32), (260, 170, 440, 240))
    drawn.paste((196, 190, 170), (0, 0, 640, 90))
    out = io.BytesIO()
    drawn.save(out, "JPEG")
    return {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()}


def go(page: Page, to: str) -> None:
    page.evaluate(f"location.hash = '#/{to}'")


def first(page: Page, screen: str, address: str) -> None:
    """Open the first thing of a list, found by its address."""
    go(page, screen)
    page.locator(f"main a[href^='#/{address}']").first.click()


def report(page: Page) -> None:
    go(page, "today")
    page.set_input_files("#camera", photo())
    page.locator(".chip").nth(1).click()
    page.locator("path.leaflet-interactive, .pin").first.wait_for()


def waiting(page: Page) -> None:
    page.context.set_offline(True)
    report(page)
    page.locator(".sendbar button").click()
    go(page, "outbox")
    page.locator("#line.line-offline").wait_for()


def conflict(page: Page) -> None:
    """Show what a person sees when somebody was faster; the answer of the server is put where it would be kept."""
    page.evaluate("""async () => {
      const store = await import("/static/field/store.js");
      const {action, changed} = await import("/static/field/queue.js");
      const all = await (await import("/static/field/bundle.js")).bundle();
      const task = all.tasks.find((one) => one.duty === "mine") ?? all.tasks[0];
      const step = task.steps.find((one) => one.main) ?? task.steps[0];
      const made = action("step", {case: task.id, base_version: 1, fields: {action: step.action, done: "已通知摊主收摊，现场清理完毕。"}, about: `${step.label} · ${task.title || task.number}`});
      await store.enqueue(made);
      const log = [{action: step.label, by: "试验second", text: "路过时已处置。"}];
      await store.settle(made.key, "conflict", {status: "conflict", message: "", server: {...task, version: task.version + 1, log}});
      changed();
    }""")
    go(page, "outbox")
    page.locator(".outbox .conflict").wait_for()


def full(page: Page) -> None:
    # What was held for a photo is gone and cannot be held again, as after the last photo that found room.
    page.evaluate("""async () => {
      const base = await new Promise((done) => { const r = indexedDB.open("wangge-field"); r.onsuccess = () => done(r.result); });
      await new Promise((done) => { const r = base.transaction("kept", "readwrite").objectStore("kept").delete("reserve"); r.onsuccess = done; });
      base.close();
      IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };
    }""")
    go(page, "more")
    go(page, "today")
    page.locator("main .notice.bad").wait_for()


SCREENS: dict[str, Callable[[Page], None]] = {
    "today": lambda page: go(page, "today"),
    "map": lambda page: go(page, "map"),
    "task": lambda page: first(page, "today", "task/"),
    "report": report,
    "patrol": lambda page: go(page, "patrol"),
    "visits": lambda page: go(page, "visits"),
    "visit": lambda page: first(page, "visits", "visit/"),
    "household": lambda page: first(page, "visits", "household/"),
    "door": lambda page: go(page, "door"),
    "apply": lambda page: first(page, "door", "door/"),
    "learn": lambda page: go(page, "learn"),
    "cards": lambda page: first(page, "learn", "cards/"),
    "quiz": lambda page: first(page, "learn", "quiz/"),
    "more": lambda page: go(page, "more"),
    "outbox": lambda page: go(page, "outbox"),
    "conflict": conflict,
    "waiting": waiting,
    "full": full,
}


def keep(page: Page, name: str, ending: str | None) -> None:
    if not FOLDER or ending is None:
        return
    drawn = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    flat = drawn.quantize(96, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat.save(Path(FOLDER) / f"{name}-{ending}.png", optimize=True)


@pytest.mark.parametrize(("language", "size", "theme", "ending"), LOOKS, ids=str)
def test_every_screen_fits_speaks_one_language_and_can_be_used_by_everybody(
    context: BrowserContext, server: str, language: str, size: str, theme: str, ending: str | None
) -> None:
    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else faults.append(r.url))
    display = f"lang={language}&type={size}&theme={theme}"
    page.goto(f"{server}/field?{display}")
    page.locator(".welcome").wait_for()
    look(page, "welcome", language, axe, faults)
    keep(page, "welcome", ending)
    page.goto(f"{server}/login?next=/field")
    page.locator("#f-login").fill("gridwest")
    page.locator("#f-password").fill(tiny.PASSWORD)
    page.locator("#f-password").press("Enter")
    page.locator(".tasks .due").first.wait_for()
    for name, open_ in SCREENS.items():
        open_(page)
        page.wait_for_timeout(900)
        expect(page.locator("#title")).not_to_be_empty()
        look(page, name, language, axe, faults)
        page.evaluate("window.scrollTo(0, 0)")
        page.evaluate("document.getElementById('said').hidden = true")
        keep(page, name, ending)
    assert faults == []


def look(page: Page, name: str, language: str, axe: str, faults: list[str]) -> None:
    """Gather what is wrong with a screen; whoever only draws pictures has looked before."""
    if FOLDER:
        return
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    if wide > 0:
        faults.append(f"{name} is {wide} px too wide")
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found = page.evaluate("axe.run(document)")["violations"]
    faults += [f"{name}: {v['id']}: {[node['html'][:140] for node in v['nodes']][:3]}" for v in found]
    faults += [f"{name}: {high} px high: {html}" for html, high in page.evaluate(LARGE_TAPS)]
    if left := left_over(page.evaluate(WORDS, f"{DATA}, .tile, option"), language):
        faults.append(f"{name} ({language}): {sorted(left)}")
