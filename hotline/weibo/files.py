"""Exported files of mentions 导入: CSV, Excel and JSON lines, read row by row; bad rows are told with their number.

Three shapes are known by their columns: our own (docs/formats.md), the export of a collection of posts (`created_at`,
`text`, `lng_wgs84`, …), and the platform's own status objects, one a line. Knows no table of ours.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from python_calamine import CalamineError, CalamineWorkbook

from core.datums import Datum
from core.errors import Invalid
from dispatch.calendar import CHINA
from dispatch.words import N_
from hotline.weibo.platform import LONGEST, YEARS, Post, moment, plain, post_of

#: Largest file, and most rows of one; a longer export is split.
MAX_BYTES: Final = 200 * 2**20
MAX_ROWS: Final = 1_000_000
#: Bad rows that are told one by one.
_TOLD: Final = 100
_SPREADSHEETS: Final = (".xlsx", ".xls", ".ods")
#: Our own columns; only `text` and `created_at` are needed.
COLUMNS: Final = ("id", "created_at", "author_id", "author", "text", "root_id", "root_text", "lng", "lat", "datum")
#: What bytes become that are no characters of the encoding.
_UNREAD = re.compile("[\ud800-\udfff]")
_KNOWN: Final = frozenset({*COLUMNS, "row", "lng_wgs84", "lat_wgs84"})


@dataclass(slots=True)
class Problems:
    """What could not be read."""

    #: (row as the file counts, why), the first ones.
    told: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0

    def add(self, row: int, why: str) -> None:
        """Count one bad row, and keep the first ones."""
        self.count += 1
        if len(self.told) < _TOLD:
            self.told.append((row, why))


def read(path: Path, problems: Problems) -> Iterator[Post]:
    """Yield the posts of a file in its order; what is wrong with single rows goes to `problems`.

    UTF-8 (with or without mark) or GB 18030. Raises Invalid for a file that cannot be read at all.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Invalid(N_("The file {name} cannot be read."), name=path.name) from error
    if size > MAX_BYTES:
        raise Invalid(N_("{name} is larger than {n} MB; split it."), name=path.name, n=MAX_BYTES // 2**20)
    kind = path.suffix.lower()
    if kind in (".jsonl", ".ndjson", ".json"):
        return _json_lines(path, problems)
    rows = _sheet(path) if kind in _SPREADSHEETS else _csv(path, problems)
    return _posts(rows, path.name, problems)


def _encoding(path: Path) -> str:
    """Return the encoding of a text file; raises Invalid for a file that is no text."""
    with path.open("rb") as file:
        head = file.read(2**20)
    if b"\x00" in head:
        raise Invalid(N_("{name} is no text; export it as CSV or Excel."), name=path.name)
    for name in ("utf-8-sig", "gb18030"):
        try:
            # A character may be cut at the end of the piece.
            head.decode(name, errors="strict") if len(head) < 2**20 else head[:-4].rsplit(b"\n", 1)[0].decode(name)
        except UnicodeDecodeError:
            continue
        return name
    raise Invalid(N_("{name} is neither UTF-8 nor GBK text."), name=path.name)


def _csv(path: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding=_encoding(path), errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error:
                problems.add(reader.line_num, N_("This row is not CSV."))
                continue
            yield reader.line_num, values


def _sheet(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        cells = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, OSError, IndexError) as error:
        raise Invalid(N_("{name} is no spreadsheet that can be read."), name=path.name) from error
    return ((n, [_cell(value) for value in values]) for n, values in enumerate(cells, start=1))


def _cell(value: object) -> str:
    # Spreadsheets keep long ids as floats and lose their end: 16 digits are the limit of what they can say.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _posts(rows: Iterator[tuple[int, list[str]]], name: str, problems: Problems) -> Iterator[Post]:
    header: list[str] = []
    for n, values in rows:
        if not any(value.strip() for value in values):
            continue
        if not header:
            header = [value.strip().lower() for value in values]
            if "text" not in header or "created_at" not in header or len(set(header)) != len(header):
                raise Invalid(N_("{name} needs the columns created_at and text, each once."), name=name)
            continue
        if n > MAX_ROWS:
            raise Invalid(N_("{name} has more than {n} rows; split it."), name=name, n=MAX_ROWS)
        if len(values) > len(header) and any(values[len(header) :]):
            problems.add(n, N_("The row has more values than the heading has columns."))
            continue
        told = {column: value for column, value in zip(header, values, strict=False) if column in _KNOWN}
        try:
            yield _post(told)
        except Invalid as error:
            problems.add(n, str(error))


def _json_lines(path: Path, problems: Problems) -> Iterator[Post]:
    with path.open(encoding=_encoding(path), errors="surrogateescape") as file:
        for n, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                raw = orjson.loads(line)
            except orjson.JSONDecodeError:
                problems.add(n, N_("This line is not JSON."))
                continue
            if isinstance(raw, Mapping) and isinstance(raw.get("user"), Mapping):
                found = post_of(raw)
                if found is None or (found.posted_at is None):
                    problems.add(n, N_("The status names no id or no time."))
                else:
                    yield found
                continue
            try:
                yield _post({key: _said(value) for key, value in raw.items()} if isinstance(raw, Mapping) else {})
            except Invalid as error:
                problems.add(n, str(error))


def _said(value: object) -> str:
    return "" if value is None or isinstance(value, list | dict) else str(value)


def _post(told: Mapping[str, Any]) -> Post:
    """Return the post of one row; raises Invalid with what is wrong."""
    words = plain(told.get("text"), LONGEST + 1)
    if not words:
        raise Invalid(N_("The text is empty."))
    if len(words) > LONGEST:
        raise Invalid(N_("The text is longer than {limit} characters."), limit=LONGEST)
    if _UNREAD.search(words):
        raise Invalid(N_("The text holds bytes that are no characters of the file's encoding."))
    at = _time(str(told.get("created_at", "")))
    post_id = str(told.get("id", "")).strip()
    if not post_id:
        # The same row again is the same post, whatever file it stands in.
        post_id = "file-" + sha256(f"{at.isoformat()}\x1f{words}".encode()).hexdigest()[:32]
    elif not (len(post_id) <= 60 and post_id.replace("-", "").replace("_", "").isalnum() and post_id.isascii()):
        raise Invalid(N_("The id is not made of letters, digits, - and _."))
    lng, lat, datum = _where(told)
    root = str(told.get("root_id", "")).strip()[:60]
    made = Post(
        id=post_id,
        text=words,
        posted_at=at,
        author_id=_UNREAD.sub("?", plain(told.get("author_id"), 40)),
        author=_UNREAD.sub("?", plain(told.get("author"), 50)),
        root_id=root if root.replace("-", "").replace("_", "").isalnum() else "",
        root_text=_UNREAD.sub("?", plain(told.get("root_text"))),
    )
    return replace(made, lng=lng, lat=lat, datum=datum)


def _time(written: str) -> datetime:
    """Return a time; without a zone it is China's. Raises Invalid."""
    found = moment(written.strip())
    if found is None:
        try:
            found = datetime.fromisoformat(written.strip().replace("/", "-"))
        except ValueError as error:
            raise Invalid(N_("{written} is no time; write 2026-11-21 14:30:00."), written=written[:40]) from error
    if found.year not in YEARS:
        raise Invalid(N_("{written} is no time; write 2026-11-21 14:30:00."), written=written[:40])
    return found if found.tzinfo else found.replace(tzinfo=CHINA)


def _where(told: Mapping[str, Any]) -> tuple[float | None, float | None, str]:
    """Return the point of a row and its datum; none for empty columns. Raises Invalid for half a point."""
    lng, lat = str(told.get("lng", "")).strip(), str(told.get("lat", "")).strip()
    datum = str(told.get("datum", "")).strip()
    if not lng and not lat:
        # A collection's points are guesses of a machine, exact to a town: the words say more.
        return None, None, ""
    try:
        x, y = float(lng), float(lat)
    except ValueError as error:
        raise Invalid(N_("Longitude and latitude must be numbers in degrees.")) from error
    if not (abs(x) <= 180 and abs(y) <= 90) or datum not in {one.value for one in Datum}:
        raise Invalid(N_("A point needs degrees and a datum: WGS84, GCJ-02, BD-09 or CGCS2000."))
    return x, y, datum


def as_text(problems: Problems) -> str:
    """Return the bad rows as lines for a terminal."""
    out = io.StringIO()
    for row, why in problems.told:
        out.write(f"row {row}: {why}\n")
    if problems.count > len(problems.told):
        out.write(f"… and {problems.count - len(problems.told)} more\n")
    return out.getvalue()
