"""Every line gets one line, in order, whatever it holds."""

import io
import json
from datetime import UTC, datetime

import numpy as np
import orjson
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.locator import Locator
from hotline.classify import SHIPPED, Classifier
from hotline.geocode import AreaEntry, Entry, Gazetteer, Geocoder
from hotline.geocode.model import Answer, Match
from hotline.twins import TwinIndex
from hotline.understand import LONGEST, Tally, read_lines, understand

KEYS = {
    *("id", "status", "lng", "lat", "radius_m", "confidence", "town", "cell", "line", "ambiguous"),
    *(
        "kind",
        "level1",
        "category",
        "urgent",
        "urgency",
        "categories",
        "words",
        "urgency_words",
        "call",
        "model",
        "duplicate_of",
        "why",
    ),
}
MODEL = Classifier.load(SHIPPED)
PLACES = {"翠湖花园": (113.15, 23.03), "金域家园": (113.19, 23.05)}


class Named:
    """Knows two estates and one place elsewhere."""

    def locate(self, text):
        for name, (lng, lat) in PLACES.items():
            if name in text:
                match = Match(lng, lat, 80.0, 0.9, "place", name, "440605001", None, "place_named", {"name": name})
                return Answer("located", (match,), "place_named", {"name": name})
        if "外市" in text:
            return Answer("outside", (), "elsewhere_named", {"name": "外市"})
        return Answer("unlocatable", (), "nothing_named")


class Squares:
    def locate(self, lng, lat):
        return "440605001001001" if lng < 113.17 else None


def run(*lines, **more):
    source = io.BytesIO(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines) + b"\n")
    return list(
        understand(read_lines(source), geocoder=Named(), classifier=MODEL, locator=Squares(), twins=TwinIndex(), **more)
    )


BAD = "投诉翠湖花园楼下烧烤店油烟熏人，音响吵到凌晨三点，多次反映无人管"


def test_a_message_is_placed_classified_and_explained():
    (made,) = run({"id": "m1", "channel": "web", "text": BAD}, town_names={"440605001": "东平镇"})
    assert set(made) == KEYS
    assert (made["id"], made["status"], made["lng"], made["lat"]) == ("m1", "located", 113.15, 23.03)
    assert (made["town"], made["cell"], made["radius_m"]) == ("东平镇", "440605001001001", 80)
    assert (made["kind"], made["level1"], made["urgent"]) == ("complaint", "环境保护", False)
    assert made["duplicate_of"] is None
    assert "翠湖花园" in made["why"]


def test_a_line_carries_three_categories_and_the_words_of_category_and_urgency_apart():
    (made,) = run({"id": "m1", "text": "小区物业乱收物业费，三楼着火了，浓烟滚滚，快来人"})
    chances = [one["probability"] for one in made["categories"]]
    assert len(chances) == 3
    assert chances == sorted(chances, reverse=True)
    assert (made["urgency"], made["call"]) == ("emergency", "119")
    assert "着火了" in made["urgency_words"]
    assert not set(made["words"]) & set(made["urgency_words"])
    assert all(
        word in "小区物业乱收物业费，三楼着火了，浓烟滚滚，快来人" for word in made["words"] + made["urgency_words"]
    )
    assert made["model"] == MODEL.version


def test_what_it_cannot_tell_is_null():
    made = run(
        {"id": 1, "text": "路灯坏了没人修"}, {"id": 2, "text": "外市的路灯坏了"}, {"id": 3, "text": "金域家园停水了"}
    )
    assert [m["status"] for m in made] == ["unlocatable", "outside", "located"]
    assert all(made[i][key] is None for i in (0, 1) for key in ("lng", "lat", "town", "cell", "confidence"))
    assert made[2]["cell"] is None
    assert (made[2]["urgent"], made[2]["urgency"]) == (True, "utilities")


def test_a_repeated_matter_names_the_first_message():
    made = run(
        {"id": "a", "text": BAD},
        {"id": "b", "text": "金域家园的电梯坏了三天没有人修，老人下不了楼"},
        {"id": "c", "text": BAD + "，请尽快处理"},
        {"id": "d", "text": BAD},
        {"id": "e", "text": BAD.replace("翠湖花园", "金域家园")},
    )
    assert [m["duplicate_of"] for m in made] == [None, None, "a", "a", None]


def test_one_id_twice_is_answered_twice_and_is_not_its_own_twin():
    made = run({"id": "a", "text": BAD}, {"id": "a", "text": BAD})
    assert [(m["id"], m["duplicate_of"]) for m in made] == [("a", None), ("a", None)]


def test_bad_lines_are_answered_counted_and_do_not_stop_the_rest():
    tally = Tally()
    lines = [
        b"not json",
        b"[1, 2]",
        b"\xff\xfe\x00binary\x00",
        {"id": "x"},
        {"id": "x2", "text": "   "},
        {"id": "x3", "text": 5},
        {"id": "x4", "text": "\x00\x01\x02\x03PK\x00"},
        b'{"id": "x5", "text": "' + b"a" * (LONGEST + 10) + b'"}',
        b'{"id": "x6", "text": "\\ud800"}',
        b"[" * 5000,
        {"id": "ok", "text": BAD},
    ]
    made = run(*lines, tally=tally)
    assert len(made) == len(lines)
    assert all(m["status"] is None and m["why"] for m in made[:-1])
    assert [m["id"] for m in made] == [None, None, None, "x", "x2", "x3", "x4", None, None, None, "ok"]
    assert made[-1]["status"] == "located"
    assert tally.lines == len(lines)
    assert tally.status == {"unreadable": len(lines) - 1, "located": 1}


def test_blank_lines_and_a_byte_order_mark_are_no_messages():
    assert len(run(b"", b"\xef\xbb\xbf" + json.dumps({"id": 1, "text": BAD}).encode(), b"  ")) == 1


def test_answers_come_while_the_file_is_still_being_read():
    def endless():
        for i in range(3):
            yield {"id": i, "text": f"第{i}条：路灯坏了"}
        pytest.fail("read ahead")

    stream = understand(endless(), geocoder=Named(), classifier=MODEL, locator=Squares())
    assert [next(stream)["id"] for _ in range(3)] == [0, 1, 2]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["id", "text", "title", "channel", "at"]),
            st.one_of(st.none(), st.text(max_size=40), st.integers(), st.floats(), st.lists(st.integers(), max_size=2)),
        ),
        max_size=6,
    )
)
@settings(max_examples=120, deadline=None)
def test_any_objects_give_as_many_answers_that_can_be_written(lines):
    made = list(understand(lines, geocoder=Named(), classifier=MODEL, locator=Squares()))
    assert len(made) == len(lines)
    for one in made:
        assert set(one) == KEYS
        orjson.dumps(one)


def test_the_real_geocoder_and_locator_fit():
    square = shapely.box(113.14, 23.02, 113.16, 23.04)
    gazetteer = Gazetteer(
        [Entry(kind="place", name="翠湖花园", lng=113.15, lat=23.03, town_code="440605001")],
        [AreaEntry(level="town", code="440605001", name="东平镇", polygon=square)],
        district="虚拟区",
    )
    made = list(
        understand(
            [{"id": 1, "text": "东平镇翠湖花园的路灯坏了", "at": datetime(2026, 1, 1, tzinfo=UTC).isoformat()}],
            geocoder=Geocoder(gazetteer),
            classifier=MODEL,
            locator=Locator(["440605001001001"], np.array([square])),
        )
    )
    assert made[0]["status"] == "located"
    assert made[0]["cell"] == "440605001001001"
