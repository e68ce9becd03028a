"""A flood of reports from mixed channels, with senders and workers killed: nothing is lost and nothing doubled.

A small one each time; WANGGE_STRESS=1 (`make stress`) lets the whole of it come: 50,000 reports.
"""

import json
import os
import subprocess
import sys

import pytest

from core.db import engine
from core.settings import ROOT
from tests import tiny

pytestmark = pytest.mark.database


def test_a_flood_from_every_channel_loses_and_doubles_nothing(district: tiny.Tiny) -> None:
    """`tests/flood.py` kills; a process of its own, because it forks."""
    if os.environ.get("WANGGE_STRESS") == "1":
        asked = ["--reports", "50000", "--longest", "5400"]
    else:
        asked = ["--reports", "1200", "--longest", "600", "--seed", "20261122"]
    argv = [sys.executable, "-P", "-m", "tests.flood", *asked]
    done = subprocess.run(
        argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    # Connections of this process were among those that were cut.
    for pool in (engine(), engine(replica=True)):
        pool.dispose()
    print(done.stdout)  # noqa: T201  the run's figures
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["killed"].get("pump"), "whoever sends was not killed"
    assert found["messages outside"] > 0
