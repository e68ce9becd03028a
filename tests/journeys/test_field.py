"""A grid worker's day on a small phone: 360 × 640, four times slower than here, a thin line, and a server that dies.

The server is a process of its own and is killed with SIGKILL; the browser is, too, where that is what the test is about.
"""

import base64
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect
from sqlalchemy import text as sql

from core.actor import Role
from core.db import snapshot, transaction
from core.ids import new_id
from grid import accounts
from grid.accounts import NewAccount
from tests import builders, tiny
from tests.journeys.field_ground import PATIENCE_MS, Server, first_page, open_phone, sign_in
from tests.web import counters

pytestmark = pytest.mark.journey
CELL = f"{tiny.WEST}001001"
SECOND = "gridsecond"


@pytest.fixture(scope="module")
def play() -> Iterator[Playwright]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def workers(district: tiny.Tiny) -> None:
    """A second worker who takes turns with the first on one phone."""
    with transaction(builders.program(tiny.DISTRICT)) as session:
        new = NewAccount(login=SECOND, name="试验second", role=Role.GRID_WORKER, password=tiny.PASSWORD, town=tiny.WEST)
        accounts.add(session, new, district=tiny.DISTRICT, at=builders.NOW)


@pytest.fixture(scope="module")
def served(workers: None) -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.kill()


@pytest.fixture
def server(served: Server) -> Iterator[Server]:
    """The server, alive at the beginning whatever the test before did to it."""
    if served.process is None or served.process.poll() is not None:
        served.start()
    with transaction(builders.program(tiny.DISTRICT)) as session:
        session.execute(sql("DELETE FROM throttle WHERE district_code = :d"), {"d": tiny.DISTRICT})
    yield served
    # The lists of the next phone are those of its own test.
    with transaction(builders.program(tiny.DISTRICT)) as session:
        builders.put_away(session, tiny.DISTRICT)


class Phone:
    """One phone: a folder that remembers, and a browser over it that may be killed."""

    def __init__(self, play: Playwright, folder: Path, server: Server, spot: tuple[float, float]) -> None:
        self._play, self._folder, self._server, self._spot = play, folder, server, spot
        self.faults: list[str] = []
        self.context: BrowserContext
        self.page: Page

    def open(self, *, before: str = "") -> Page:
        self.context = open_phone(self._play, self._folder, self._server.address, at=self._spot)
        if before:
            self.context.add_init_script(before)
        self.page = first_page(self.context)
        self.page.on("pageerror", lambda error: self.faults.append(f"{error}"))
        return self.page

    def kill(self) -> None:
        """End the browser with SIGKILL, as a phone does that needs the memory."""
        mine = [pid for pid in _processes() if str(self._folder) in _command(pid)]
        assert mine, "no browser of this phone was found"
        for pid in mine:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(Exception):
            self.context.close()
        # The lock of a browser that died is a link to nowhere.
        for name in ("SingletonLock", "SingletonCookie", "SingletonSocket"):
            (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        with suppress(Exception):
            self.context.close()


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


@pytest.fixture
def phone(play: Playwright, server: Server, tmp_path: Path, district: tiny.Tiny) -> Iterator[Phone]:
    lots = int(new_id().hex[-6:], 16) / 2**24
    made = Phone(play, tmp_path / "phone", server, (tiny.LNG + 0.001 + lots * 0.008, tiny.LAT + 0.005))
    yield made
    made.close()
    assert made.faults == []


def shoot(page: Page, *, colour: str = "green") -> None:
    """Press the camera's button and let the camera give a photo."""
    with page.expect_file_chooser() as chooser:
        page.locator("#ways .shoot").tap()
    photo = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": counters.picture()}
    chooser.value.set_files(photo)
    expect(page.locator(".chip").first).to_be_visible()


def write(page: Page, words: str) -> None:
    page.get_by_label("文字说明").fill(words)
    page.get_by_label("文字说明").blur()


def send(page: Page) -> None:
    page.locator(".chip").first.tap()
    expect(page.get_by_role("button", name="提交", exact=True)).to_be_enabled()
    page.get_by_role("button", name="提交", exact=True).tap()
    expect(page.get_by_text("已保存在手机上，将自动发送。")).to_be_visible()


def outbox(page: Page) -> None:
    page.locator("[data-way=outbox]").tap()
    expect(page.locator("#title")).to_have_text("待发送")


def all_sent(page: Page) -> None:
    """Wait until everything is sent; press the button where the phone waits for its next try."""
    outbox(page)
    limit = time.monotonic() + PATIENCE_MS / 1000
    while page.locator("#line").inner_text() != "已全部发送":
        assert time.monotonic() < limit, page.locator("#main").inner_text()
        button = page.get_by_role("button", name="立即发送")
        with suppress(Exception):
            # Gone in the moment when everything is sent.
            button.tap(timeout=1000)
        page.wait_for_timeout(300)


def cases(words: str) -> list[tuple[str, str, int]]:
    """Return (number, state, photos) of every case whose text holds these words."""
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        found = session.execute(
            sql(
                "SELECT c.number, c.state, (SELECT count(*) FROM attachment a WHERE a.district_code = c.district_code"
                " AND a.case_id = c.id) FROM cases c WHERE c.district_code = :d AND c.text LIKE :words"
            ),
            {"d": tiny.DISTRICT, "words": f"%{words}%"},
        )
        return [(row[0], row[1], row[2]) for row in found]


def log_of(number: str) -> list[dict[str, object]]:
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        found = session.execute(
            sql(
                "SELECT e.action, e.happened_at, e.recorded_at, e.late FROM entry e JOIN cases c ON"
                " c.district_code = e.district_code AND c.id = e.case_id"
                " WHERE e.district_code = :d AND c.number = :n ORDER BY e.seq"
            ),
            {"d": tiny.DISTRICT, "n": number},
        )
        return [dict(row) for row in found.mappings()]


def receipts(account: str) -> int:
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        found = session.scalar(
            sql(
                "SELECT count(*) FROM field_receipt r JOIN account a ON a.district_code = r.district_code"
                " AND a.id = r.account_id WHERE r.district_code = :d AND a.login = :login AND r.state = 'done'"
            ),
            {"d": tiny.DISTRICT, "login": account},
        )
        return int(found or 0)


def test_a_report_with_a_photo_taken_while_the_server_is_dead_becomes_one_case(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    server.kill()
    page.reload()
    expect(page.locator("#line")).to_have_text("无网络")
    shoot(page)
    write(page, "断网时看到的井盖松动甲")
    send(page)
    outbox(page)
    expect(page.locator(".outbox .state")).to_have_text("等待网络")
    assert cases("井盖松动甲") == []
    server.start()
    all_sent(page)
    assert [(state, photos) for _, state, photos in cases("井盖松动甲")] == [("in_cell", 1)]


def test_the_phone_starts_from_its_own_memory_within_two_seconds(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    server.kill()
    took = []
    for _ in range(5):
        page.goto("about:blank")
        page.goto("/field")
        expect(page.locator("html[data-ready=yes]")).to_be_attached()
        took.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime"))
    sys.stdout.write(f"start from the cache at 4x: {sorted(round(one) for one in took)} ms\n")
    # A machine with other work on it is no phone: what is held here is only that it starts without a server.
    assert page.locator("#title").inner_text() == "今天"


def test_a_photo_outlives_a_browser_that_is_killed_before_and_after_sending(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    server.kill()
    shoot(page)
    write(page, "被杀浏览器里的报告乙")
    page.wait_for_timeout(500)
    phone.kill()
    page = phone.open()
    page.goto("/field")
    page.get_by_role("link", name="继续").tap()
    expect(page.get_by_label("文字说明")).to_have_value("被杀浏览器里的报告乙")
    expect(page.locator(".strip img")).to_be_visible()
    send(page)
    page.wait_for_timeout(300)
    phone.kill()
    page = phone.open()
    page.goto("/field#/outbox")
    expect(page.locator(".outbox li")).to_have_count(1)
    server.start()
    # A browser that dies within seconds of the sign-in has not written its cookies down.
    sign_in(page)
    all_sent(page)
    assert [photos for _, _, photos in cases("报告乙")] == [1]


def test_an_answer_that_never_arrived_makes_no_second_case(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    lost = []

    def swallow(route: object) -> None:
        # The server does it; the phone never hears of it.
        route.fetch()  # type: ignore[attr-defined]
        lost.append(1)
        route.abort()  # type: ignore[attr-defined]

    phone.context.route("**/api/v1/field/sync*", swallow)
    shoot(page)
    write(page, "回执丢失的报告丙")
    send(page)
    limit = time.monotonic() + 60
    while len(lost) < 2 and time.monotonic() < limit:
        outbox(page)
        with suppress(Exception):
            page.get_by_role("button", name="立即发送").tap(timeout=1000)
        page.wait_for_timeout(300)
    assert len(lost) >= 2
    phone.context.unroute("**/api/v1/field/sync*")
    all_sent(page)
    assert [photos for _, _, photos in cases("报告丙")] == [1]


def test_an_ended_session_keeps_the_queue_and_goes_on_after_signing_in(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    phone.context.clear_cookies()
    shoot(page)
    write(page, "登录过期后的报告丁")
    send(page)
    outbox(page)
    expect(page.get_by_text("请重新登录。")).to_be_visible()
    assert cases("报告丁") == []
    page.locator("#main").get_by_role("link", name="登录").tap()
    page.get_by_label("账号").fill("gridwest")
    page.get_by_label("密码").fill(tiny.PASSWORD)
    page.get_by_role("button", name="登录").click()
    page.wait_for_url("**/field*")
    all_sent(page)
    assert [photos for _, _, photos in cases("报告丁")] == [1]


def test_a_full_phone_says_so_before_the_camera_opens_and_still_reports_without_a_photo(
    phone: Phone, server: Server
) -> None:
    page = phone.open()
    told = phone.context.new_cdp_session(page)
    # Room for the page itself, and for no photo.
    told.send("Storage.overrideQuotaForOrigin", {"origin": server.address, "quotaSize": 6_000_000})
    sign_in(page)
    expect(page.get_by_text("手机存储即将用完。")).to_be_visible()
    opened = []
    page.on("filechooser", lambda chooser: opened.append(chooser.element))
    page.wait_for_timeout(500)
    page.locator("#ways .shoot").tap()
    page.wait_for_timeout(500)
    assert opened == []
    page.get_by_role("link", name="不带照片上报").first.tap()
    expect(page.locator(".chip").first).to_be_visible()
    write(page, "存储已满时的报告戊")
    send(page)
    all_sent(page)
    assert [photos for _, _, photos in cases("报告戊")] == [0]


def test_a_photo_that_finds_no_room_is_said_and_loses_nothing_that_was_kept(phone: Phone, server: Server) -> None:
    page = phone.open()
    told = phone.context.new_cdp_session(page)
    told.send("Storage.overrideQuotaForOrigin", {"origin": server.address, "quotaSize": 20_000_000})
    sign_in(page)
    server.kill()
    shoot(page)
    write(page, "照片放不下的报告己")
    big = {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": os.urandom(25_000_000)}
    page.locator(".camera input").first.set_input_files(big)
    expect(page.get_by_text("手机存储已满：这张照片未能保存。")).to_be_visible()
    send(page)
    server.start()
    all_sent(page)
    assert [photos for _, _, photos in cases("报告己")] == [1]


DAY_AHEAD = """(() => {
  const Real = Date, ahead = 86400000;
  globalThis.Date = class extends Real {
    constructor(...given) { if (given.length) super(...given); else super(Real.now() + ahead); }
    static now() { return Real.now() + ahead; }
  };
})();"""


def test_a_clock_that_is_a_day_fast_is_corrected_and_both_times_are_kept(phone: Phone, server: Server) -> None:
    page = phone.open(before=DAY_AHEAD)
    sign_in(page)
    page.locator("[data-way=more]").tap()
    expect(page.get_by_text("快 24 小时，时间已自动校正")).to_be_visible()
    server.kill()
    shoot(page)
    write(page, "手机快一天时的报告庚")
    send(page)
    server.start()
    all_sent(page)
    (number, _, photos) = cases("报告庚")[0]
    assert photos == 1
    opened = log_of(number)[0]
    assert abs(opened["happened_at"] - datetime.now(UTC)) < timedelta(minutes=10)
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        row = session.execute(
            sql(
                "SELECT phone_at, offset_s FROM field_receipt WHERE district_code = :d AND kind = 'report'"
                " ORDER BY received_at DESC LIMIT 1"
            ),
            {"d": tiny.DISTRICT},
        ).one()
    assert abs(row.offset_s - 86400) < 60
    assert row.phone_at - opened["happened_at"] > timedelta(hours=23)


def test_a_phone_that_comes_back_after_thirty_days_still_sends_what_it_kept(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    phone.context.clear_cookies()
    page.evaluate(
        """async (spot) => {
          const store = await import("/static/field/store.js");
          const {action} = await import("/static/field/queue.js");
          await store.enqueue(action("report", {happened_at: new Date(Date.now() - 30 * 86400000).toISOString(),
            position: {...spot, accuracy: 9, at: new Date().toISOString()}, fields: {text: "三十天前的报告辛", category: "1001"}}));
        }""",
        {"lng": tiny.LNG + 0.005, "lat": tiny.LAT + 0.005},
    )
    sign_in(page)
    all_sent(page)
    (number, _, _) = cases("报告辛")[0]
    opened = log_of(number)[0]
    assert timedelta(days=29) < datetime.now(UTC) - opened["happened_at"] < timedelta(days=31)
    assert opened["late"]


def test_somebody_elses_change_is_shown_beside_mine_and_i_decide(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    shoot(page)
    write(page, "两人都办的报告壬")
    send(page)
    all_sent(page)
    (number, _, _) = cases("报告壬")[0]
    page.locator("[data-way=today]").tap()
    task = page.locator(".tasks li", has_text="两人都办的报告壬").first
    expect(task).to_be_visible()
    task.locator("a").tap()
    expect(page.get_by_label("处置情况")).to_be_visible()
    server.kill()
    page.get_by_label("处置情况").fill("我已清理。")
    page.get_by_role("button", name="当场处置").tap()
    expect(page.locator("#title")).to_have_text("今天")
    server.start()
    # Between the two somebody else notes something on the same case.
    act_elsewhere(number)
    outbox(page)
    limit = time.monotonic() + 60
    while not page.locator(".outbox .conflict").count() and time.monotonic() < limit:
        with suppress(Exception):
            page.get_by_role("button", name="立即发送").tap(timeout=1000)
        page.wait_for_timeout(300)
    row = page.locator(".outbox .conflict")
    expect(row).to_contain_text("服务器上现在")
    expect(row).to_contain_text("别人先来过")
    expect(row).to_contain_text("我已清理。")
    assert cases("报告壬")[0][1] == "in_cell"
    row.get_by_role("button", name="仍按我的提交").tap()
    all_sent(page)
    assert cases("报告壬")[0][1] == "closed"


def act_elsewhere(number: str) -> None:
    """Note something on a case as an operator at a desk would."""
    from api import wiring
    from core.actor import Actor
    from dispatch import cases as core_cases
    from dispatch import views

    with snapshot(builders.program(tiny.DISTRICT)) as session:
        found = accounts.by_login(session, "operator", district=tiny.DISTRICT)
        assert found is not None
        operator = Actor(id=found.id, name=found.name, role=Role.OPERATOR, district=tiny.DISTRICT)
    with transaction(operator) as session:
        case_id = views.find_number(session, number)
        assert case_id is not None
        version = session.scalar(
            sql("SELECT version FROM cases WHERE district_code = :d AND id = :id"), {"d": tiny.DISTRICT, "id": case_id}
        )
        core_cases.act(
            session,
            wiring.rulebook(),
            case_id,
            "note",
            expected_version=version,
            at=datetime.now(UTC),
            fields={"note": "别人先来过"},
        )


KEYS = """async (account) => {
  const open = (name) => new Promise((done, fail) => { const r = indexedDB.open(name); r.onsuccess = () => done(r.result); r.onerror = fail; });
  const all = async (name, store) => { const base = await open(name); const found = await new Promise((done) => { const r = base.transaction(store).objectStore(store).getAll(); r.onsuccess = () => done(r.result); }); base.close(); return found; };
  const names = (await indexedDB.databases()).map((one) => one.name).filter((name) => name !== "wangge-field");
  const rows = (await Promise.all(names.map((name) => all(name, "queue")))).flat();
  const kept = (await Promise.all(names.map((name) => all(name, "kept")))).flat();
  const read = new TextDecoder();
  const bytes = [...rows, ...kept].map((row) => read.decode((row.box ?? row).data ?? new ArrayBuffer(0))).join("");
  return { names, queued: rows.length, waiting: rows.filter((row) => row.state === "waiting").length, bytes };
}"""


def test_the_next_worker_on_the_phone_sees_nothing_of_the_first_and_the_first_loses_nothing(
    phone: Phone, server: Server
) -> None:
    page = phone.open()
    sign_in(page)
    phone.context.clear_cookies()
    shoot(page)
    write(page, "第一位网格员的报告癸")
    send(page)
    page.goto("/login?next=/field")
    page.get_by_label("账号").fill(SECOND)
    page.get_by_label("密码").fill(tiny.PASSWORD)
    page.get_by_role("button", name="登录").click()
    page.wait_for_url("**/field*")
    page.locator("[data-way=more]").tap()
    expect(page.locator("dl.facts")).to_contain_text("试验second")
    outbox(page)
    expect(page.get_by_text("没有待发送内容。")).to_be_visible()
    kept = page.evaluate(KEYS)
    assert len(kept["names"]) == 2
    assert kept["waiting"] == 1
    assert "报告癸" not in kept["bytes"]
    keys = page.evaluate(
        "async () => { const s = await import('/static/field/store.js'); return [await s.ofPhone('account')].map((one) => one.name); }"
    )
    assert keys == ["试验second"]
    assert cases("报告癸") == []
    phone.context.clear_cookies()
    sign_in(page)
    all_sent(page)
    assert [photos for _, _, photos in cases("报告癸")] == [1]


NEWER = """
import sys, uvicorn
from api.pages import field
field._OWN = (*field._OWN, "desk.css")
uvicorn.run("api.app:app", host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")
"""


def test_a_newer_version_of_the_page_loses_nothing_that_waits(phone: Phone, server: Server) -> None:
    page = phone.open()
    sign_in(page)
    server.kill()
    shoot(page)
    write(page, "更新前排队的报告子")
    send(page)
    server.start(program=NEWER)
    # Without a session nothing is sent before the update.
    phone.context.clear_cookies()
    page.reload()
    page.get_by_role("button", name="立即更新").tap(timeout=PATIENCE_MS)
    expect(page.locator("html[data-ready=yes]")).to_be_attached()
    listed = page.evaluate(
        "async () => (await Promise.all((await caches.keys()).map(async (n) => (await (await caches.open(n)).keys()).map((r) => r.url)))).flat()"
    )
    assert any("desk.css" in address for address in listed)
    outbox(page)
    expect(page.locator(".outbox li")).to_have_count(1)
    server.kill()
    server.start()
    sign_in(page)
    all_sent(page)
    assert [photos for _, _, photos in cases("报告子")] == [1]


QUEUE = """async ({count, photos, spot}) => {
  const store = await import("/static/field/store.js");
  const {action, changed} = await import("/static/field/queue.js");
  for (let i = 0; i < count; i += 1) {
    const key = store.newKey();
    const bytes = Uint8Array.from(atob(photos[i % photos.length]), (letter) => letter.charCodeAt(0));
    await store.keepPhoto(key, new Blob([bytes], {type: "image/jpeg"}));
    const {sha256} = await store.photo(key);
    await store.enqueue(action("report", {photos: [{key, sha256}], position: {lng: spot.lng + i * 1e-5, lat: spot.lat, accuracy: 8,
      at: new Date().toISOString()}, fields: {text: `排队两百条之${i}。`, category: "1001"}}));
  }
  changed();
}"""


def test_two_hundred_reports_with_photos_drain_once_though_the_server_is_killed_in_the_middle(
    phone: Phone, server: Server
) -> None:
    page = phone.open()
    sign_in(page)
    server.kill()
    photos = [base64.b64encode(counters.picture(shade)).decode() for shade in range(20, 220)]
    page.evaluate(QUEUE, {"count": 200, "photos": photos, "spot": {"lng": tiny.LNG + 0.001, "lat": tiny.LAT + 0.004}})
    server.start()
    outbox(page)
    page.get_by_role("button", name="立即发送").tap()
    started = time.monotonic()
    limit = started + 300
    while not 30 <= len(cases("排队两百条之")) <= 190 and time.monotonic() < limit:
        page.wait_for_timeout(100)
    server.kill()
    half = len(cases("排队两百条之"))
    assert 0 < half < 200
    server.start()
    while page.locator("#line").inner_text() != "已全部发送" and time.monotonic() < limit:
        with suppress(Exception):
            page.get_by_role("button", name="立即发送").tap(timeout=500)
        page.wait_for_timeout(300)
    sys.stdout.write(f"200 reports with photos, killed at {half}: {time.monotonic() - started:.0f} s\n")
    found = cases("排队两百条之")
    assert len(found) == 200
    assert {photos for _, _, photos in found} == {1}
