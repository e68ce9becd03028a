"""Files that a clerk gives to `wangge` and that are not what they should be: one sentence, exit 2, nothing changed."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from api import cli
from core.actor import system
from core.db import snapshot
from tests import tiny

pytestmark = pytest.mark.web

RULES = "id,category,area,weekdays,hours,unit,note\n"
SQUARE = "[[[113.0,23.0],[113.1,23.1],[113.1,23.0],[113.0,23.1],[113.0,23.0]]]"
MANIFEST = "code: '990299'\nname: 试验区\nfictional: true\n"


@pytest.fixture(autouse=True)
def nothing_changes() -> Iterator[None]:
    def state() -> list[object]:
        tables = ("district", "area", "routing_rule", "unit", "cases", "report")
        with snapshot(system(tiny.DISTRICT)) as session:
            count = "SELECT count(*), max(xmin::text::bigint) FROM {} WHERE district_code = :d"
            return [tuple(session.execute(text(count.format(t)), {"d": tiny.DISTRICT}).one()) for t in tables]

    before = state()
    yield
    assert state() == before


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run `wangge` with wrong input and return the one sentence that it says."""
    monkeypatch.setattr(sys, "argv", ["wangge", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2, said.err
    assert "Traceback" not in said.err
    assert len(re.sub(r"\s", "", said.err)) < 2000
    return said.err.replace("\n", " ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (RULES + "a,9999,,,,990200-D1,\n", "no category"),
        (RULES + "a,10,,,,990200-X7,\n", "no unit"),
        (RULES + "a,10,990200999,,,990200-D1,\n", "no area"),
        (RULES + "a,10,,,,990200-D1,\na,20,,,,990200-D2,\n", "twice"),
        (RULES + "a,10,,,,990200-D1,\nb,10,,,,990200-D2,\n", "as specific"),
        (RULES + "a,10,,9,,990200-D1,\n", "weekdays"),
        (RULES + "a,10,,,25:00-26:00,990200-D1,\n", "hours"),
        ("\x00\x01\x02", "rules.csv"),
        ("", "rules.csv"),
        ("who,what\n1,2\n", "rules.csv"),
    ],
)
def test_a_rule_file_that_cannot_be_meant_is_refused_with_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, reason: str
) -> None:
    file = tmp_path / "rules.csv"
    file.write_text(content, encoding="utf-8")
    assert reason in refused(monkeypatch, capsys, "rules", "try", str(file))


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"district.yaml": ""},
        {"district.yaml": "code: [unclosed"},
        {"district.yaml": MANIFEST, "towns.geojson": "{}"},
        {"district.yaml": MANIFEST, "towns.geojson": "\x89PNG\r\n"},
        {
            "district.yaml": MANIFEST + "files:\n  towns: {file: towns.geojson, datum: WGS84}\n",
            "towns.geojson": '{"type":"FeatureCollection","features":[{"type":"Feature","properties":'
            f'{{"code":"990299001","name":"试镇"}},"geometry":{{"type":"Polygon","coordinates":{SQUARE}}}}}]}}',
        },
    ],
)
def test_a_folder_that_cannot_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, files: dict[str, str]
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert refused(monkeypatch, capsys, "load", str(tmp_path), "--report", str(tmp_path / "report.csv")).strip()


def test_a_folder_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert refused(monkeypatch, capsys, "load", str(tmp_path / "nowhere")).strip()
    assert "datum" in refused(monkeypatch, capsys, "load", str(tmp_path), "--datum", "towns").lower()


@pytest.mark.parametrize("content", ["", "\x00\x01", "{not json}\n", "id,when\n1,2\n"])
def test_a_file_that_cannot_be_played_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str
) -> None:
    file = tmp_path / "messages.csv"
    file.write_text(content, encoding="utf-8")
    assert "messages.csv" in refused(monkeypatch, capsys, "play", str(file)).replace(" ", "")
