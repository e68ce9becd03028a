"""Spreadsheets of strangers, read in a process of its own: what a file says of its size kills that process alone.

A workbook of two kilobytes can name a cell so far out that the reader asks for more memory than there is, and ends.
`rows` starts this module as a program, hands it the bytes and takes the first sheet's rows back as JSON.
"""

import io
import resource
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from python_calamine import CalamineError, CalamineWorkbook

from core.errors import Invalid

#: What a spreadsheet may unfold to, and what reading it may take: bytes, and seconds of one core.
_UNFOLDED, _MEMORY, _SECONDS = 300 * 2**20, 1_500_000_000, 40
#: Columns that are handed back; no table that people fill in has more.
_MOST_COLUMNS: Final = 200
#: How the program ends for a file that is no spreadsheet.
_DAMAGED: Final = 3
_ROOT: Final = Path(__file__).resolve().parents[1]


def rows(data: bytes, *, most: int, cell: int) -> list[list[str]]:
    """Return the cells of the first sheet as texts, each cut to `cell` characters, up to `most` rows that hold any.

    A blank row is an empty list; a merged cell says the same of every row that it covers. Raises Invalid, naming
    `file`.
    """
    argv = [sys.executable, "-P", "-m", "core.workbook", str(most), str(cell)]
    try:
        done = subprocess.run(  # noqa: S603  this very module
            argv,
            input=data,
            capture_output=True,
            timeout=2 * _SECONDS,
            check=False,
            cwd=_ROOT,
            env={"PYTHONPATH": str(_ROOT), "PATH": "", "LANG": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired as error:
        raise Invalid("This spreadsheet unfolds to more than it may.", field="file") from error
    if done.returncode == _DAMAGED:
        raise Invalid("This spreadsheet is damaged or locked by a password.", field="file")
    if done.returncode:
        raise Invalid("This spreadsheet unfolds to more than it may.", field="file")
    found: list[list[str]] = orjson.loads(done.stdout)
    return found


def _read(data: bytes, most: int, cell: int) -> list[list[str]]:
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0)
    found = [[_plain(value, cell) for value in row[:_MOST_COLUMNS]] for row in sheet.to_python(skip_empty_area=False)]
    for (top, left), (bottom, right) in getattr(sheet, "merged_cell_ranges", None) or ():
        for line in found[top : bottom + 1]:
            for column in range(left, min(right + 1, len(line))):
                line[column] = found[top][left]
    made, full = [], 0
    for line in found:
        said = line if any(line) else []
        full += bool(said)
        made.append(said)
        if full >= most:
            break
    return made


def _plain(value: Any, cell: int) -> str:
    if isinstance(value, float) and value.is_integer():
        # Telephone numbers come as floats.
        return str(int(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ")) if isinstance(value, datetime) else str(value.isoformat())
    return str(value).strip()[:cell]


def _too_large(data: bytes) -> bool:
    """Return whether a packed file says itself that it unfolds to too much; one that lies meets the limits below."""
    if data[:2] != b"PK":
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return sum(part.file_size for part in packed.infolist()) > _UNFOLDED


def main() -> int:
    """Read a workbook from standard input under limits of memory and time and write its rows as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data = sys.stdin.buffer.read()
    try:
        if _too_large(data):
            return 1
        found = _read(data, int(sys.argv[1]), int(sys.argv[2]))
    except (CalamineError, zipfile.BadZipFile, OSError, IndexError):
        return _DAMAGED
    sys.stdout.buffer.write(orjson.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
