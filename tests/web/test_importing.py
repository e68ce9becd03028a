"""Files of reports through HTTP and the worker's slices: every encoding, merged cells, nothing twice, reasons back."""

import io
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import xlsxwriter
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from api import wiring
from core.actor import Role, system
from core.crypto import unseal
from core.db import snapshot, transaction
from core.errors import Forbidden, Invalid
from dispatch.models import Case
from hotline.desk import importing
from hotline.desk.models import ImportRun
from tests import builders, tiny

pytestmark = pytest.mark.web

SignIn = Callable[[str], TestClient]
ROWS = "编号,时间,内容,地点,电话\nA-1,2026-11-20 09:30,路灯不亮三天了,滨湖路18号,13800138000\n"


def give(client: TestClient, data: bytes, name: str = "reports.csv") -> str:
    answer = client.post("/import", files={"file": (name, data)})
    assert answer.status_code == 303, answer.text
    while importing.work(wiring.intake(), at=datetime.now(UTC), size=50) is not None:
        pass
    return client.get("/import").text


def newest() -> importing.Progress:
    with snapshot(system(tiny.DISTRICT, "tests")) as session:
        return importing.newest(session)[0]


def cases(words: str) -> list[Case]:
    with transaction(builders.program(tiny.DISTRICT)) as session:
        found = list(session.scalars(select(Case).where(Case.text.contains(words))))
        for case in found:
            session.expunge(case)
        return found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_every_encoding_is_read(signed_in: SignIn, encoding: str) -> None:
    words = f"滨湖路22号的垃圾桶坏了，编码（{encoding}）"
    give(signed_in("supervisor"), f"内容,时间\n{words},2026-11-20\n".encode(encoding))
    (case,) = cases(words)
    assert (case.channel, case.reported_at.astimezone(UTC).day) == ("import", 19)


def test_the_same_file_and_the_same_number_open_nothing_twice(signed_in: SignIn) -> None:
    supervisor = signed_in("supervisor")
    give(supervisor, ROWS.encode())
    give(supervisor, ROWS.encode())
    give(supervisor, (ROWS + "A-2,2026-11-20,路灯又坏了,滨湖路22号,\n").encode())
    assert len(cases("路灯不亮三天了")) == 1
    assert (newest().taken, newest().repeated) == (1, 1)


def test_what_is_refused_comes_back_with_its_reason_and_no_formula(signed_in: SignIn) -> None:
    supervisor = signed_in("supervisor")
    rows = "内容,时间,电话\n=HYPERLINK(1),昨天,\n,2026-11-20,138\n占道经营卖水果,2026-11-20,不知道\n"
    page = give(supervisor, rows.encode())
    assert "refused.csv" in page
    run = newest()
    assert (run.total, run.taken, run.refused) == (3, 0, 3)
    back = supervisor.get(f"/import/{run.id}/refused.csv").content.decode("utf-8-sig")
    assert "不是时间" in back
    assert "'=HYPERLINK(1)" in back
    assert "\n2," in back
    assert "\n4," in back


def test_a_merged_cell_speaks_for_every_row_and_a_formula_is_text(signed_in: SignIn) -> None:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for column, head in enumerate(("地点", "内容", "联系电话")):
            sheet.write(0, column, head)
        sheet.merge_range(1, 0, 2, 0, "青石街30号")
        sheet.write(1, 1, "一楼漏水合并")
        sheet.write(2, 1, "二楼漏水合并")
        sheet.write_number(1, 2, 13800138000)
        sheet.write_string(3, 1, "=1+1 这是漏水合并")
    give(signed_in("supervisor"), out.getvalue(), "reports.xlsx")
    found = cases("漏水合并")
    assert len(found) == 3
    assert sum("青石街30号" in case.text for case in found) == 2
    assert any(case.text.startswith("=1+1") for case in found)


def _workbook(last: str, *, row: int) -> bytes:
    """Return a workbook whose second cell stands at `last`, which its two kilobytes do not show."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "内容")
        sheet.write(1, 0, "很远的单元格")
    far = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(out.getvalue())) as given, zipfile.ZipFile(far, "w") as made:
        for part in given.namelist():
            data = given.read(part)
            if part == "xl/worksheets/sheet1.xml":
                data = data.replace(b'<row r="2"', b'<row r="%d"' % row).replace(b'r="A2"', b'r="%s"' % last.encode())
            made.writestr(part, data)
    return far.getvalue()


def test_a_cell_at_the_end_of_the_sheet_kills_no_server() -> None:
    with pytest.raises(Invalid, match="unfolds"):
        importing.read(_workbook("XFD1048576", row=1_048_576))


def test_a_row_behind_many_blank_ones_is_not_lost() -> None:
    assert importing.read(_workbook("A200000", row=200_000)).rows == ((200_000, ("很远的单元格",)),)


def test_characters_that_no_table_keeps_stop_no_import(signed_in: SignIn) -> None:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ("标题", "编号", "内容"))
        sheet.write_row(1, 0, ("路_x0000_灯", "N_x0000_1", "滨湖路二十号路灯全坏了"))
    raw = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(out.getvalue())) as given, zipfile.ZipFile(raw, "w") as made:
        for part in given.namelist():
            # The library that writes it means the signs themselves; others mean the character.
            made.writestr(part, given.read(part).replace(b"_x005F_x0000_", b"_x0000_"))
    give(signed_in("supervisor"), raw.getvalue(), "unseen.xlsx")
    (case,) = cases("滨湖路二十号路灯全坏了")
    assert case.title == "路灯"


def test_a_time_with_an_offset_is_that_moment_and_one_without_is_chinas() -> None:
    header, at = ("内容", "时间"), datetime(2026, 11, 22, tzinfo=UTC)
    for written in ("2026-11-21T06:30:00Z", "2026-11-21 06:30:00+00:00", "2026-11-21 14:30", "20261121T143000"):
        report = importing.report_of(header, ("路灯不亮", written), digest="0" * 64, number=2, at=at)
        assert report.reported_at == datetime(2026, 11, 21, 6, 30, tzinfo=UTC), written


def test_rows_that_went_back_harmless_come_again_as_they_were() -> None:
    lines = (("内容", "电话"), ("=1+1 是原话", "+8613800138000"), (" ＝HYPERLINK(1)", "-"))
    harmless = importing.as_csv(lines)
    assert all(f"'{cell}" in harmless.decode("utf-8-sig") for line in lines[1:] for cell in line)
    assert [cells for _, cells in importing.read(harmless).rows] == [
        ("=1+1 是原话", "+8613800138000"),
        (" ＝HYPERLINK(1)", "-"),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"a,b\n1,2\n", "header"),
        ("内容\n".encode(), "no rows"),
        (b"PK\x03\x04broken", "damaged"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "neither"),
        ("内容,text\n一,二\n".encode(), "mean the same"),
        (b"x" * (importing.LARGEST + 1), "at most"),
    ],
)
def test_what_is_no_table_is_refused_whole(data: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        importing.read(data)


def test_a_file_of_fifty_megabytes_is_not_even_read(signed_in: SignIn) -> None:
    answer = signed_in("supervisor").post("/import", files={"file": ("big.csv", b"x" * 50 * 2**20)})
    assert answer.status_code == 413


def test_the_same_file_put_up_by_two_at_once_is_one_import(district: tiny.Tiny) -> None:
    data, at = "内容\n同一份表格两个人同时上传\n".encode(), datetime.now(UTC)
    supervisor, came = builders.actor(Role.SUPERVISOR, district=tiny.DISTRICT), []

    def second() -> None:
        with transaction(supervisor) as session:
            came.append(importing.queue(session, data, "b.csv", at=at))

    with transaction(supervisor) as session:
        (first, before) = importing.queue(session, data, "a.csv", at=at)
        other = threading.Thread(target=second)
        other.start()
        # The other one waits at the index until this one is committed.
        other.join(0.5)
    other.join(10)
    assert not before
    assert [(one.id, known) for one, known in came] == [(first.id, True)]
    with transaction(supervisor) as session:
        importing.cancel(session, first.id, at=at)


def test_a_file_of_the_whole_district_is_no_business_of_a_supervisor_of_one_town(district: tiny.Tiny) -> None:
    of_one_town = builders.actor(Role.SUPERVISOR, district=tiny.DISTRICT, town=tiny.WEST)
    at = datetime.now(UTC)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        run, _ = importing.queue(session, "内容\n全区的表格\n".encode(), "all.csv", at=at)
        importing.cancel(session, run.id, at=at)
    for look in (
        importing.newest,
        lambda session: importing.progress(session, run.id),
        lambda session: list(importing.refusals(session, run.id)),
        lambda session: importing.queue(session, ROWS.encode(), "a.csv", at=at),
    ):
        with pytest.raises(Forbidden), snapshot(of_one_town) as session:
            look(session)


def test_a_file_given_again_after_it_was_stopped_goes_on_from_there(signed_in: SignIn) -> None:
    rows = ("内容\n" + "".join(f"第{n}处停了又续的占道\n" for n in range(60))).encode()
    supervisor = signed_in("supervisor")
    supervisor.post("/import", files={"file": ("stopped.csv", rows)})
    importing.work(wiring.intake(), at=datetime.now(UTC), size=25)
    assert supervisor.post(f"/import/{newest().id}/cancel").status_code == 303
    assert (newest().state, newest().done) == ("cancelled", 25)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        kept = session.scalars(select(ImportRun.sealed).where(ImportRun.id == newest().id)).one()
    assert kept is not None
    assert len(unseal(kept, context="import")) < 60, "the rows of a file that is over are not kept"
    give(supervisor, rows, "stopped.csv")
    assert (newest().state, newest().taken, newest().repeated) == ("done", 60, 0)
    assert len(cases("处停了又续的占道")) == 60


def test_rows_that_are_here_are_told_by_their_number_among_new_ones(signed_in: SignIn) -> None:
    supervisor = signed_in("supervisor")
    give(supervisor, "编号,内容\nK-1,旧路面坑洼\nK-2,旧井盖松动\n".encode())
    give(supervisor, "编号,内容\nK-2,旧井盖松动\nK-3,新路灯不亮\nK-3,新路灯不亮\n,\n".encode(), "later.csv")
    assert (newest().taken, newest().repeated, newest().refused) == (1, 2, 0)


def test_only_supervisors_take_files_in(signed_in: SignIn) -> None:
    for login, status in (("operator", 403), ("streets", 403), ("supervisor", 200)):
        assert signed_in(login).get("/import").status_code == status, login


def test_a_slice_that_is_done_again_doubles_nothing(signed_in: SignIn) -> None:
    rows = "内容\n" + "".join(f"第{n}次切片测试占道\n" for n in range(120))
    supervisor = signed_in("supervisor")
    supervisor.post("/import", files={"file": ("many.csv", rows.encode())})
    importing.work(wiring.intake(), at=datetime.now(UTC), size=50)
    with transaction(system(tiny.DISTRICT, "tests")) as session:
        # As a worker that died before it wrote down how far it was.
        session.execute(update(ImportRun).where(ImportRun.done == 50).values(done=0))
    while importing.work(wiring.intake(), at=datetime.now(UTC), size=50) is not None:
        pass
    with transaction(builders.program(tiny.DISTRICT)) as session:
        assert session.scalar(select(func.count()).select_from(Case).where(Case.text.contains("次切片测试占道"))) == 120
