"""Draw the screenshots beside this file from a running fictional demo; knows the demo's logins and refuses real data.

    make demo
    .venv/bin/python docs/screenshots/make.py http://127.0.0.1:8000

It sends one report (a street lamp) and changes nothing else. Chromium comes from Playwright, or from CHROMIUM.
"""

# ruff: noqa: INP001  a script that is run by its path, in a folder that is no package

import argparse
import io
import os
import sys
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE: Final = Path(__file__).resolve().parent
PASSWORD: Final = HERE.parent.parent / "var" / "demo-password"
DESKTOP: Final = (1366, 768)
PHONE: Final = (390, 844)
#: A screen that stands in a hall.
KIOSK: Final = (768, 1024)
#: Bytes that all pictures together may take in the repository.
MOST: Final = 1_200_000
#: Name of the picture, login (empty: anybody), size, address.
SHOTS: Final = (
    ("desk", "operator", DESKTOP, "/desk"),
    ("unit", "unit", DESKTOP, "/unit"),
    ("unit-phone", "unit", PHONE, "/unit"),
    ("cases", "supervisor", DESKTOP, "/cases"),
    ("map", "official", DESKTOP, "/map"),
    ("map-phone", "grid", PHONE, "/map"),
    ("report-map", "official", DESKTOP, "/map/report"),
    ("weibo", "supervisor", DESKTOP, "/weibo"),
    ("sink", "admin", DESKTOP, "/sink"),
    ("kiosk", "", KIOSK, "/kiosk"),
    ("patrol-phone", "grid", PHONE, "/patrol"),
    ("grid", "town", DESKTOP, "/grid"),
    ("grid-editor", "supervisor", DESKTOP, "/grid/editor"),
    ("conflicts", "admin", DESKTOP, "/registers/conflicts"),
    ("field-phone", "grid", PHONE, "/field"),
)


def main() -> int:
    """Draw every picture; return 1 where the demo is not fictional or the pictures are too heavy."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("address", help="where the demo answers, for example http://127.0.0.1:8000")
    asked.add_argument("--password-file", type=Path, default=PASSWORD)
    given = asked.parse_args()
    base = given.address.rstrip("/")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=os.environ.get("CHROMIUM"), args=["--no-sandbox"])
        page = _open(browser, base, PHONE)
        banner = page.locator("aside.banner")
        if not banner.count() or not banner.inner_text().startswith("虚构"):
            sys.stderr.write("This demo does not say that it is fictional; nothing was drawn.\n")
            return 1
        password = given.password_file.read_text(encoding="utf-8").strip()
        street = _street(browser, base, password)
        _report(page, street)
        for name, login, size, path in SHOTS:
            page = _open(browser, base, size)
            if login:
                _sign_in(page, base, login, password)
            # A page with a live stream is never idle.
            page.goto(base + path)
            if name == "grid-editor":
                page.locator('main a[href*="community="]').first.click()
            page.wait_for_timeout(2500)
            _keep(page, name)
            if name == "desk":
                page.goto(base + "/desk/new")
                page.locator("textarea").first.press_sequentially(f"{street}旁边垃圾没人清运好几天了", delay=10)
                page.wait_for_timeout(2500)
                _keep(page, "call")
            page.context.close()
        browser.close()
    weight = sum(path.stat().st_size for path in HERE.glob("*.png"))
    sys.stdout.write(f"{len(list(HERE.glob('*.png')))} pictures, {weight:,} bytes\n")
    return int(weight > MOST)


def _open(browser: Browser, base: str, size: tuple[int, int]) -> Page:
    """Return a page in Chinese and in light colours, of a browser that remembers nothing."""
    phone = size == PHONE
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        is_mobile=phone,
        has_touch=phone,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        color_scheme="light",
    )
    page = context.new_page()
    page.goto(base + "/?lang=zh")
    return page


def _sign_in(page: Page, base: str, login: str, password: str) -> None:
    page.goto(base + "/login")
    page.locator("input[name=login]").fill(login)
    page.locator("input[type=password]").fill(password)
    page.locator("main button").click()
    page.wait_for_load_state()


def _street(browser: Browser, base: str, password: str) -> str:
    """Return the name of a place that the demo's own cases name: every fictional district has others."""
    page = _open(browser, base, DESKTOP)
    _sign_in(page, base, "unit", password)
    page.goto(base + "/unit?box=all&sort=newest")
    found = page.locator("#rows .item .line.muted span").all_inner_texts()
    page.context.close()
    return next((name for name in found if name.endswith("号")), "")


def _report(page: Page, street: str) -> None:
    """Report a matter as a resident would: the words, the understanding, the receipt."""
    page.locator("textarea").first.press_sequentially(f"{street}门口的路灯坏了三天，晚上很黑，老人走路危险", delay=10)
    page.wait_for_timeout(2500)
    _keep(page, "report-phone")
    page.locator("#report button.primary").click()
    page.wait_for_selector("#receipt")
    _keep(page, "receipt-phone")
    page.context.close()


def _keep(page: Page, name: str) -> None:
    """Write the window as a PNG of 160 colours, which these flat pages do not miss."""
    drawn = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    drawn.quantize(160, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        HERE / f"{name}.png", optimize=True
    )


if __name__ == "__main__":
    sys.exit(main())
