"""Rules of the house that no compiler knows: length, clocks, commits, foreign hosts, docstrings, vendored files."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from api import vendor
from core.settings import ROOT

pytestmark = pytest.mark.unit

PACKAGES = ("core", "grid", "dispatch", "hotline", "maps", "api")
#: Where time is an argument.
TIMELESS = ("core", "grid", "dispatch", "hotline", "maps")
#: Names of modules that say nothing.
NAMELESS = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
#: Hosts that pages never ask: XML names, and what people click on (licences and attributions).
NAMED_ONLY = ("http://www.w3.org/", "https://www.w3.org/")


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def shown(path: Path, line: int | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def written() -> Iterator[Path]:
    """Yield pages, scripts and styles of our own."""
    for folder, kinds in (("templates", {".html"}), ("static", {".js", ".css", ".svg"})):
        for path in sorted((ROOT / "api" / folder).rglob("*")):
            if path.suffix in kinds and vendor.FOLDER not in path.parents:
                yield path


def test_no_file_is_over_six_hundred_lines() -> None:
    files = [*modules(*PACKAGES, "bench", "tests"), *written()]
    assert len(files) > 100, "the files are where this test looks"
    long = {shown(path): n for path in files if (n := len(path.read_text(encoding="utf-8").splitlines())) > 600}
    assert long == {}


def test_every_module_says_what_it_knows() -> None:
    silent = [
        shown(path)
        for path in modules(*PACKAGES, "tests", "bench")
        if path.stat().st_size and not ast.get_docstring(tree(path))
    ]
    assert silent == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [shown(path) for path in modules(*PACKAGES) if path.stem in NAMELESS] == []


def _clock_reads(code: ast.AST) -> Iterator[int]:
    """Yield the lines that ask a clock what day or time it is; counters that only measure durations are none."""
    for node in ast.walk(code):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if re.fullmatch(r"(\w+\.)*(datetime|date)\.(now|utcnow|today)|time\.(time|time_ns|localtime|gmtime)", called):
            yield node.lineno


@pytest.mark.parametrize("line", ["datetime.now(UTC)", "dt.date.today()", "datetime.datetime.utcnow()", "time.time()"])
def test_a_clock_is_recognised(line: str) -> None:
    assert list(_clock_reads(ast.parse(line))) == [1]


def test_no_clock_is_read_below_the_web() -> None:
    found = [shown(path, line) for path in modules(*TIMELESS) for line in _clock_reads(tree(path))]
    # A new identifier carries the moment it was made at; nothing is decided by it.
    assert [line for line in found if not line.startswith("core/ids.py")] == []


def _texts(code: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(code):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_no_statement_below_the_web_asks_the_database_for_the_time() -> None:
    asking = re.compile(r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp)\s*\(|\bCURRENT_(DATE|TIME)")
    found = [
        shown(path, line)
        for path in modules(*TIMELESS)
        for line, text in _texts(tree(path))
        if re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE)\b", text) and asking.search(text)
    ]
    assert found == []


def test_only_the_session_commits() -> None:
    found = [
        shown(path, node.lineno)
        for path in modules(*PACKAGES)
        if path != ROOT / "core" / "db.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    ]
    # Alembic takes an open transaction for its caller's; that one read is ended by hand.
    assert [line for line in found if not line.startswith("api/migrations/env.py")] == []


def test_no_page_names_a_foreign_host() -> None:
    loading = re.compile(r"""(?:src|srcset|action|data-[\w-]+)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?:https?:)?//""")
    calling = re.compile(r"""(?:fetch|import|importScripts|WebSocket|EventSource)\s*\(?\s*["'`](?:https?:|wss?:)?//""")
    linking = re.compile(r"""<link[^>]+href\s*=\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//""")
    for path in written():
        text = path.read_text(encoding="utf-8")
        for rule in (loading, calling, linking):
            assert not rule.search(text), shown(path)
        hosts = [a for a in re.findall(r"https?://[^\s\"'<>)]+", text) if not a.startswith(NAMED_ONLY)]
        if path.suffix != ".html":
            assert hosts == [], shown(path)


def test_no_page_has_inline_style_or_handlers() -> None:
    for path in written():
        if path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"<[a-z][^>{}]*\s(style|on[a-z]+)\s*=\s*[\"']", text), shown(path)
            assert "<style" not in text, shown(path)


def test_every_vendored_file_is_whole_and_listed_with_its_licence() -> None:
    assert vendor.faults() == []
    for entry in json.loads(vendor.LIST.read_text(encoding="utf-8")):
        assert entry["version"], entry["package"]
        assert entry["licence"], entry["package"]
        assert entry["files"], entry["package"]


def test_what_pages_and_maps_ask_for_is_vendored() -> None:
    """A file that a page names and nobody vendored would be a 404 on every machine but the author's."""
    listed = {asset.target for asset in vendor.assets()}
    named: set[str] = set()
    for path in [*written(), *modules("api", "maps")]:
        found = re.findall(r"vendor/([\w@./-]+\.\w+)", path.read_text(encoding="utf-8"))
        named |= {name for name in found if "{" not in name}
    assert named, "pages name vendored files"
    assert named - listed == set()


def test_every_script_and_style_that_pages_name_is_there() -> None:
    for path in written():
        for name in re.findall(r"static\('([\w./-]+)'\)", path.read_text(encoding="utf-8")):
            if not name.startswith("vendor/"):
                assert (ROOT / "api" / "static" / name).is_file(), (shown(path), name)


def test_layers_are_contracts_over_every_package() -> None:
    """The linter itself runs in `make check`; here only that nobody narrowed what it looks at."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert set(rules["root_packages"]) == set(PACKAGES)
    layers = next(rule for rule in rules["contracts"] if rule["type"] == "layers")
    assert layers["layers"] == ["api", "hotline | maps", "dispatch", "grid", "core"]
    assert "ignore_imports" not in layers


def test_no_test_is_marked_to_fail() -> None:
    marked = [shown(path) for path in modules("tests") if re.search(r"mark\.xfail|pytest\.xfail\(", path.read_text())]
    assert [name for name in marked if name != "tests/unit/test_house.py"] == []


def test_no_machine_path_is_written_down() -> None:
    local = re.compile(r"(^|[^A-Za-z0-9_.{}-])/(work|farm)/")
    files = [*modules(*PACKAGES, "tests", "bench"), *written(), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    files += [ROOT / "Makefile", ROOT / "setup.sh", ROOT / ".ci" / "run"]
    found = [shown(path) for path in files if local.search(path.read_text(encoding="utf-8"))]
    assert [name for name in found if name != "tests/unit/test_house.py"] == []
