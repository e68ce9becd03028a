"""`wangge items` as it is typed: load, import, check, compare, export, withdraw, with their exit codes."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api import cli, cli_items, wiring  # noqa: F401  declares the commands
from core.errors import Conflict, Invalid
from dispatch.calendar import china_time
from tests import tiny

pytestmark = pytest.mark.database
CODE = "CLI-0001"
ITEM = f"""
items:
  - code: {CODE}
    name: 命令行试验事项
    unit: urban_management
    legal_limit: 20wd
    promised_limit: 5wd
    basis: [{{law: 某法}}]
    conditions: [条件]
    materials: [{{code: A, name: 甲}}]
    steps: [{{name: 申请}}]
    results: [{{name: 证}}]
    pick_ups: [{{code: W, name: 窗口}}]
"""


@pytest.fixture(autouse=True)
def _here(district: tiny.Tiny) -> None:
    """Commands act on the tiny district, which is committed."""
    wiring.forget()


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.app, ["items", *map(str, words)])


def said(result: Result) -> str:
    return re.sub(r"\s+", " ", result.output)


def test_the_shipped_items_check_clean() -> None:
    result = run("check", "default")
    assert result.exit_code == 0
    assert "53 items can be taken, 0 faults." in said(result)


def test_faults_are_said_with_their_line_and_exit_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(ITEM.replace("5wd", "50wd"), encoding="utf-8")
    result = run("check", path)
    assert result.exit_code == 1
    assert "bad.yaml, line 3: the promised limit 50wd" in said(result)


def test_an_item_is_loaded_compared_exported_and_withdrawn(tmp_path: Path) -> None:
    path, town, book = tmp_path / "a.yaml", tmp_path / "town.yaml", tmp_path / "out.xlsx"
    path.write_text(ITEM, encoding="utf-8")
    town.write_text(ITEM.replace("5wd", "7wd").replace("窗口", "镇窗口"), encoding="utf-8")
    first = run("load", path)
    assert first.exit_code == 0, first.output
    assert "unchanged" in said(first)
    assert "1 unchanged" in said(run("load", path))
    same, other = run("compare", path), run("compare", town)
    assert (same.exit_code, other.exit_code) == (0, 1)
    assert f"{CODE} promised_limit: '5wd'" in said(other)
    assert "1 differences." in said(other)
    assert run("export", book).exit_code == 0
    again = run("import", book)
    assert again.exit_code == 0, again.output
    assert said(again).startswith("0 items published")
    assert CODE in said(run("list", "命令行"))
    today = china_time(wiring.now()).date()
    assert run("withdraw", CODE, today).exit_code == 0
    assert CODE not in said(run("list", "命令行"))
    assert isinstance(run("withdraw", CODE, today).exception, Conflict)


def test_the_template_is_written_and_reads_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    assert run("template", path).exit_code == 0
    assert "0 items can be taken, 0 faults." in said(run("check", path))


def test_only_workbooks_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x", encoding="utf-8")
    assert isinstance(run("import", path).exception, Invalid)
    assert isinstance(run("withdraw", CODE, "soon").exception, Invalid)
