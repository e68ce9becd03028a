"""A table that was damaged on its way is read or refused with a sentence; it never breaks the program."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from dispatch.calendar import NOTICES, notice_of_table
from dispatch.process import FOLDER, parse_processes
from dispatch.rules import Unit, problems, rules_of
from dispatch.tables import parse_csv, parse_yaml, read_text

NOTICE = (NOTICES / "2026.yaml").read_text()
PROCESS = (FOLDER / "complaint.yaml").read_text()
RULES = "id,category,area,weekdays,hours,unit,note\n1,01,,67,08:00-18:00,roads,x\n2,0101,990101001,,,roads,\n"


@st.composite
def damaged(draw, text):
    scraps = st.sampled_from(
        [*"[]{}:,-#\"'\n&*!|>%@ ", "null", "[]", "{}", "true", "2026-13-01", "- ", "name: ", "\t", "\x00", "\ud7ff"]
    )
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text) - 1))
        end = min(len(text), start + draw(st.integers(0, 8)))
        text = text[:start] + draw(scraps) + text[end:]
    return text


def _taken_or_refused(read):
    with suppress(Invalid):
        read()


@given(damaged(NOTICE))
def test_damaged_notice_is_taken_or_refused(text):
    _taken_or_refused(lambda: [notice_of_table(table) for table in parse_yaml(text, file="n.yaml")])


@settings(max_examples=30)
@given(damaged(PROCESS))
def test_damaged_process_is_taken_or_refused(text):
    _taken_or_refused(lambda: parse_processes(text, file="p.yaml"))


@given(damaged(RULES))
def test_damaged_rules_are_taken_or_refused(text):
    _taken_or_refused(lambda: problems(rules_of(parse_csv(text, file="r.csv")), [Unit("roads"), Unit("c", "centre")]))


@pytest.mark.parametrize("text", ["a: 1", "a: x\nb: &y [1]\nc: *y\n", "a: &a [*a]\n"])
def test_references_that_could_unfold_without_end_are_refused(text):
    if "*" not in text:
        assert parse_yaml(text, file="t.yaml") == [{"a": 1}]
        return
    with pytest.raises(Invalid, match=r"t.yaml, line \d: references"):
        parse_yaml(text, file="t.yaml")


def test_yaml_has_no_surprises():
    (row,) = parse_yaml(
        "off: no\nhours: 09:00-17:00\ntime: 12:30\ncode: 0102\nbig: 440605001\non: yes\n", file="t.yaml"
    )
    assert row == {"off": "no", "hours": "09:00-17:00", "time": "12:30", "code": "0102", "big": 440605001, "on": "yes"}
    assert row.line == 1


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['true']", "a: !!python/name:os.system\n", "a: !x 1\n"]
)
def test_yaml_makes_no_objects(text):
    with pytest.raises(Invalid):
        parse_yaml(text, file="t.yaml")


def test_table_of_absurd_size_is_refused(tmp_path):
    path = tmp_path / "rules.csv"
    path.write_bytes(b"id,unit\n" * 600_000)
    with pytest.raises(Invalid, match="too large"):
        read_text(path)
