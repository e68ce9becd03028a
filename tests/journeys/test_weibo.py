"""The ledger of mentions in a browser: what is held is reviewed, what is answered shows its reply, at every width."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from api import vendor, wiring, worker
from core.actor import Role
from core.db import rows, snapshot, transaction
from core.settings import settings
from dispatch import cases, sheet
from hotline.outward.adapters import Refused
from hotline.outward.pump import Pump
from hotline.weibo import inbox
from hotline.weibo.platform import Post
from tests import builders, tiny
from tests.journeys.test_every_page import DATA, DESK, PHONE, WORDS, left_over, sign_in

pytestmark = pytest.mark.journey

Seat = Callable[..., Page]
WHERE = "滨湖路81号门口的路灯不亮"
HELD = "你们这帮狗官，滨湖路82号的垃圾什么时候清"
HOSTILE = "<b>滨湖路83号</b>\u202e积水" + "A" * 180 + "😀👨‍👩‍👧"


@pytest.fixture(scope="module", autouse=True)
def _mentions(district: tiny.Tiny) -> Iterator[None]:
    """Put mentions of every kind into the ledger; whatever goes out ends in the sink, at any hour."""
    patch = pytest.MonkeyPatch()
    patch.setenv("WANGGE_SINK", "1")
    settings.cache_clear()
    wiring.forget()
    now = datetime.now(UTC)
    posts = [
        Post("9001", WHERE, now - timedelta(minutes=50), "801", "甲"),
        Post("9002", HELD, now - timedelta(minutes=40), "802", "乙"),
        Post("9003", HOSTILE, now - timedelta(minutes=30), "803", "<i>丙</i>"),
        Post("9004", "转发微博", now - timedelta(minutes=20), "804", "丁", root_id="9001", root_text=WHERE),
        Post("9005", "滨湖路84号的井盖缺了一块", now - timedelta(minutes=15), "805", "戊"),
    ]
    with transaction(builders.program(tiny.DISTRICT)) as session:
        inbox.store(session, posts, source="file", at=now - timedelta(minutes=10))
    take()
    changed = [
        Post("9003", HOSTILE + "（补充）", now, "803"),
        Post("9005", "", now, "805", deleted=True),
    ]
    with transaction(builders.program(tiny.DISTRICT)) as session:
        inbox.store(session, changed, source="file", at=now)
    yield
    patch.undo()
    settings.cache_clear()
    wiring.forget()


def take() -> None:
    """Take the mentions that wait."""
    while (done := inbox.take(wiring.intake(tiny.DISTRICT), at=datetime.now(UTC))) is not None and done.all:
        pass


def mention(post_id: str) -> str:
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        found = rows(
            session, "SELECT id FROM mention WHERE district_code = :d AND post_id = :p", d=tiny.DISTRICT, p=post_id
        )
    return str(found[0]["id"])


def answer(number: str) -> None:
    """Lead a case to its reply as the desk and the unit, and let the worker send what goes out."""
    book = wiring.rulebook(tiny.DISTRICT)
    with snapshot(builders.program(tiny.DISTRICT)) as session:
        case_id = rows(
            session, "SELECT id FROM cases WHERE district_code = :d AND number = :n", d=tiny.DISTRICT, n=number
        )
    for state, role, action in (
        ("received", Role.OPERATOR, "dispatch"),
        ("dispatched", Role.UNIT, "sign"),
        ("signed", Role.UNIT, "reply"),
    ):
        with snapshot(builders.program(tiny.DISTRICT)) as session:
            now = sheet.facts(session, case_id[0]["id"])
        if now.state != state:
            continue
        who = builders.actor(role, district=tiny.DISTRICT, unit=now.unit_code or "" if role is Role.UNIT else "")
        fields = {
            "dispatch": {"unit": tiny.STREETS},
            "sign": {},
            "reply": builders.reply_fields(now.kind, answer="路灯已修好。"),
        }[action]
        with transaction(who) as session:
            cases.act(session, book, now.id, action, expected_version=now.version, at=datetime.now(UTC), fields=fields)
    worker.relay()
    worker.send()


def test_a_held_mention_is_reviewed_taken_and_answered_on_its_post(seat: Seat, server: str, faults: list[str]) -> None:
    page = seat("operator")
    page.goto(f"{server}/weibo")
    page.get_by_role("navigation", name="待处理事项").get_by_role("link").first.click()
    page.get_by_role("link", name=HELD[:20]).click()
    expect(page.get_by_text("辱骂").first).to_be_visible()
    page.get_by_role("button", name="驳回，不需答复").click()
    expect(page.locator("p[role=alert]")).to_have_text("请说明为什么不答复这条提及。")
    page.get_by_label("原因").fill("语气激烈，但有具体诉求")
    page.get_by_role("button", name="放行，照常受理").click()
    expect(page.get_by_text("语气激烈，但有具体诉求").first).to_be_visible()
    take()
    page.reload()
    case = page.get_by_role("definition").locator('a[href^="/cases/"]').first
    number = (case.get_attribute("href") or "").rpartition("/")[2]
    answer(number)
    page.reload()
    expect(page.locator("dd", has_text="路灯已修好").first).to_be_visible()
    page.goto(f"{server}/weibo?box=replied")
    expect(page.get_by_role("row", name=HELD[:20])).to_contain_text("路灯已修好")
    # The browser itself tells of the refused form.
    assert [one for one in faults if "422" not in one] == []


LOOKS = (("zh", "light", PHONE), ("zh", "dark", DESK), ("en", "dark", PHONE), ("en", "light", DESK))


@pytest.mark.parametrize(("language", "theme", "size"), LOOKS)
@pytest.mark.parametrize("login", ["operator", "supervisor"])
def test_ledger_mentions_and_what_went_out_read_well_at_every_width(
    chromium: Browser, server: str, login: str, language: str, theme: str, size: tuple[int, int]
) -> None:
    paths = ["/weibo", "/weibo?box=all", "/weibo?box=held", "/weibo?box=ended", "/weibo?box=failed&source=api"]
    paths += [f"/weibo/{mention(post)}" for post in ("9001", "9002", "9003", "9004", "9005")]
    if login == "supervisor":
        refuse_one()
        paths = ["/deliveries", "/deliveries?state=waiting", "/deliveries/open311", "/deliveries/open311?box=all"]
    axe = (vendor.FOLDER / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, locale="zh-CN")
    wrong: list[str] = []
    try:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
        page.on("console", lambda said: wrong.append(f"{page.url}: {said.text}") if said.type == "error" else None)
        sign_in(page, server, login)
        for path in paths:
            page.goto(f"{server}{path}{'&' if '?' in path else '?'}lang={language}&theme={theme}", wait_until="load")
            page.evaluate(axe)
            found = page.evaluate("axe.run(document)")["violations"]
            wrong += [f"{path}: {v['id']}: {[n['html'][:160] for n in v['nodes']][:3]}" for v in found]
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if wide > 0:
                wrong.append(f"{path} is {wide} px too wide")
            if left := left_over(page.evaluate(WORDS, DATA), language):
                wrong.append(f"{path}: {sorted(left)}")
    finally:
        context.close()
    assert wrong == []


def refuse_one() -> None:
    """Let one short message be refused, once, so that it stands among the deliveries."""

    class No:
        name = "sms"

        def send(self, message: object) -> None:
            raise Refused("status 403")

    case = None
    with transaction(builders.program(tiny.DISTRICT)) as session:
        found = rows(session, "SELECT 1 FROM delivery WHERE district_code = :d AND state = 'refused'", d=tiny.DISTRICT)
        if not found:
            case = builders.make_case(session, district=tiny.DISTRICT, unit=tiny.STREETS, phone="13812345678")
    if case is None:
        return
    from tests.database.test_outward import put

    put("citizen.reply", case, at=datetime.now(UTC))
    worker.relay()
    noon = datetime.now(UTC).replace(hour=4) + timedelta(days=1)
    Pump({"sms": No()}, clock=lambda: noon).run(tiny.DISTRICT)  # type: ignore[dict-item]  # it never returns
