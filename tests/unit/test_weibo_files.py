"""Exported files of mentions: shapes, encodings, and rows that are told by their number instead of stopping the rest."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import xlsxwriter

from core.errors import Invalid
from core.settings import settings
from hotline.weibo import files
from hotline.weibo.platform import Post
from hotline.weibo.screen import Screen, own_words

pytestmark = pytest.mark.unit

OWN = "id,created_at,author_id,author,text,root_id,root_text,lng,lat,datum\n"


def read(path: Path) -> tuple[list[Post], files.Problems]:
    problems = files.Problems()
    return list(files.read(path, problems)), problems


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
def test_our_own_columns_are_read_in_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    text = OWN + '5001,2026-11-18 10:00:00,77,某人,"滨湖路的路灯, 不亮",,,113.01,23.01,WGS84\n'
    path.write_bytes(text.encode(encoding))
    (post,), problems = read(path)
    assert (post.id, post.author, post.text) == ("5001", "某人", "滨湖路的路灯, 不亮")
    assert (post.posted_at, post.lng, post.datum) == (datetime(2026, 11, 18, 2, 0, tzinfo=UTC), 113.01, "WGS84")
    assert problems.count == 0


def test_bad_rows_are_told_by_number_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [
        "1,2026-11-18 10:00:00,,,好的,,,,,",
        "2,gestern,,,时间不对,,,,,",
        "3,2026-11-18 10:00:00,,,,,,,,",
        "4,2026-11-18 10:00:00,,,只有半个点,,,113.1,,WGS84",
        "5,2026-11-18 10:00:00,,,没有坐标系,,,113.1,23.1,",
        "6 7,2026-11-18 10:00:00,,,编号有空格,,,,,",
        "8,2026-11-18 10:00:00,,,列太多,,,,,,,,x",
        "9,2026-11-18 10:00:00,,,也好的,,,,,",
    ]
    path.write_text(OWN + "\n".join(rows) + "\n", encoding="utf-8")
    posts, problems = read(path)
    assert [post.id for post in posts] == ["1", "9"]
    assert [row for row, _ in problems.told] == [3, 4, 5, 6, 7, 8]
    assert "row 3" in files.as_text(problems)


def test_the_same_row_without_an_id_is_the_same_post(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("row,created_at,text\n1,2021-07-20 17:50:15+0800,甲\n2,2021-07-20 17:50:15+0800,甲\n", "utf-8")
    posts, _ = read(path)
    assert posts[0].id == posts[1].id
    assert posts[0].id.startswith("file-")


def test_excel_is_read_with_whole_ids_and_its_own_dates(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "created_at", "text"])
        sheet.write_number(1, 0, 5271960523112450)
        sheet.write_datetime(1, 1, datetime(2026, 11, 18, 10, 0), book.add_format({"num_format": "yyyy-mm-dd hh:mm"}))  # noqa: DTZ001  as spreadsheets keep it
        sheet.write_string(1, 2, '=HYPERLINK("http://x") 滨湖路')
    (post,), problems = read(path)
    assert (post.id, post.posted_at) == ("5271960523112450", datetime(2026, 11, 18, 2, 0, tzinfo=UTC))
    assert problems.count == 0


def test_lines_of_the_platforms_own_objects_are_read_and_half_a_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    status = {"id": 5, "created_at": "Wed Nov 18 10:00:00 +0800 2026", "text": "坑", "user": {"id": 7}}
    plain = {"id": "own-1", "created_at": "2026-11-18T10:00:00+08:00", "text": "灯"}
    lines = [json.dumps(status), '{"id": 6, "text', json.dumps([1]), json.dumps(plain)]
    path.write_text("\n".join(lines), encoding="utf-8")
    posts, problems = read(path)
    assert [post.id for post in posts] == ["5", "own-1"]
    assert [row for row, _ in problems.told] == [2, 3]


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x01\x02", b"a,b\n1,2\n", b"text,text,created_at\n", b"\xff\xfe\xfa\xff,\xff"]
)
def test_a_file_that_is_none_is_refused_or_empty_and_never_crashes(tmp_path: Path, data: bytes) -> None:
    for name in ("a.csv", "a.xlsx"):
        (tmp_path / name).write_bytes(data)
        with suppress(Invalid):
            assert read(tmp_path / name)[0] == []
    with pytest.raises(Invalid):
        read(tmp_path / "absent.csv")


def test_the_given_collection_of_posts_is_read_whole() -> None:
    path = settings().data / "weibo" / "posts.csv"
    if not path.exists():
        pytest.skip("the given posts are not on this machine")
    posts, problems = read(path)
    assert (len(posts), problems.count) == (900, 0)


def test_own_words_are_what_the_author_wrote() -> None:
    assert own_words("同问！[怒]//@甲:这里 http://t.cn/abc") == "同问！"
    assert own_words("转发微博") == ""


def test_a_district_adds_and_takes_away_words() -> None:
    plain = Screen.of({})
    assert plain.judge("这帮人快滚蛋") is not None
    own = Screen.of({"weibo": {"hold_words": {"abuse": ["-滚蛋", "某骂语"]}}})
    assert own.judge("这帮人快滚蛋") is None
    assert own.judge("某 骂·语！") is not None
    assert plain.judge("听说明天停水，是不是") is None, "one word alone is what honest people say"
