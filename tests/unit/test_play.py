"""Files of messages, and the synthetic join to the places of a district."""

import json
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from core.errors import Invalid
from core.settings import settings
from hotline.play import Message, Spot, join_addresses, messages

pytestmark = pytest.mark.unit

CHINA = timezone(timedelta(hours=8))
SPOTS = [
    Spot("990101001", "云安路", str(n), f"云安{n}号店铺", 83.2 + n / 1e4, 39.1, "瑞航街道", "990101001001001")
    for n in range(1, 40)
]
GIVEN = [
    Message(f"m{i}", datetime(2025, 1, 1, tzinfo=CHINA) + timedelta(hours=i), "replay", f"楼道没灯{i}。")
    for i in range(2_000)
]


def test_csv_is_put_in_order_of_time_and_read_in_chinas_zone(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(
        "message_id,user_id,title,created_at,content\n2,u,题,2018-05-17 08:32:04,后\n1,u,题,2017-06-08 17:31:20,前\n",
        encoding="utf-8",
    )
    first, second = messages(path)
    assert (first.id, first.text, first.title, first.channel) == ("1", "前", "题", "replay")
    assert first.at == datetime(2017, 6, 8, 17, 31, 20, tzinfo=CHINA)
    assert second.id == "2"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "no message"),
        ('{"id": 1, "text": "x"}', "needs id, time and text"),
        ('{"id": 1, "text": "x", "at": "yesterday"}', "is no time"),
        ('{"id": 1, "text": "x", "at": "2020-01-01T00:00:00+08:00"}', "order of time"),
    ],
)
def test_line_that_is_no_message_is_refused_with_its_number(tmp_path, line, reason):
    path = tmp_path / "m.jsonl"
    good = json.dumps({"id": "a", "at": "2025-01-01T00:00:00+08:00", "channel": "web", "text": "好"})
    path.write_text(f"{good}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(Invalid, match=f"line 3.*{reason}"):
        list(messages(path))


@pytest.mark.parametrize("name", ["none.csv", "m.txt"])
def test_file_that_cannot_be_played_is_refused(tmp_path, name):
    (tmp_path / "m.txt").write_text("x", encoding="utf-8")
    with pytest.raises(Invalid, match=name):
        list(messages(tmp_path / name))


def test_join_gives_each_message_its_share_of_places():
    joined = list(join_addresses(GIVEN, SPOTS, places=SPOTS, seed=1))
    ways = Counter(one.truth["place"] for one in joined)
    for way, share in (("road", 0.5), ("place", 0.25), ("town", 0.1), ("none", 0.15)):
        assert ways[way] / len(joined) == pytest.approx(share, abs=0.04)
    for before, after in zip(GIVEN, joined, strict=True):
        assert before.text in after.text
        truth = after.truth
        if truth["place"] == "none":
            assert (after.text, truth["status"]) == (before.text, "unlocatable")
        elif truth["place"] == "town":
            assert "lng" not in truth
            assert "瑞航街道" in after.text
        else:
            spot = next(s for s in SPOTS if s.lng == truth["lng"])
            assert (f"云安路{spot.house_no}号" if truth["place"] == "road" else spot.name) in after.text


def test_join_of_a_message_does_not_depend_on_the_others():
    whole = {one.id: one for one in join_addresses(GIVEN, SPOTS, places=SPOTS, seed=1)}
    some = list(join_addresses(GIVEN[100:110], SPOTS, places=SPOTS, seed=1))
    assert some == [whole[one.id] for one in some]
    assert some != list(join_addresses(GIVEN[100:110], SPOTS, places=SPOTS, seed=2))


def test_join_takes_plain_rows_of_addresses():
    rows = [tuple(spot)[:6] for spot in SPOTS]
    joined = list(join_addresses(GIVEN, rows, seed=1))
    assert {one.truth["place"] for one in joined} == {"road", "place", "none"}


def test_join_without_addresses_is_refused():
    with pytest.raises(Invalid, match="no addresses"):
        list(join_addresses(GIVEN, []))


def test_real_messages_are_read_whole():
    path = settings().data / "complaints" / "messages_hot.csv"
    if not path.is_file():
        pytest.skip(f"the given data are absent at {settings().data}: the real messages were not read")
    found = list(messages(path))
    assert len(found) == 2_595
    assert [one.at for one in found] == sorted(one.at for one in found)
