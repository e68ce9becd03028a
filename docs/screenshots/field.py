"""Draw every screen of the worker's phone into `docs/screenshots/field/`, from the journey that looks at all of them.

    .venv/bin/wangge up --servers-only
    .venv/bin/wangge with-servers -- .venv/bin/python docs/screenshots/field.py

The district is the tiny fictional one of the tests: no demo is needed and nothing real can be in a picture.
"""

# ruff: noqa: INP001  a script that is run by its path, in a folder that is no package

import os
import sys
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).resolve().parent
FOLDER: Final = HERE / "field"
#: Bytes that all pictures together may take in the repository.
MOST: Final = 3_000_000


def main() -> int:
    """Draw the pictures anew; return 1 where a screen was found at fault or the pictures are too heavy."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    os.environ["WANGGE_FIELD_PICTURES"] = str(FOLDER)
    os.chdir(HERE.parent.parent)
    looked = pytest.main(["-q", "-n", "0", "tests/journeys/test_field_screens.py", *sys.argv[1:]])
    drawn = list(FOLDER.glob("*.png"))
    weight = sum(path.stat().st_size for path in drawn)
    sys.stdout.write(f"{len(drawn)} pictures, {weight:,} bytes\n")
    return int(looked != 0 or weight > MOST)


if __name__ == "__main__":
    sys.exit(main())
