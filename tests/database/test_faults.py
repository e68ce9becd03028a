"""Whoever dies, whenever: what was acknowledged stands in the log once, and nothing else of the case is torn.

A small run each time; WANGGE_STRESS=1 (`make stress`) does the whole of it: 10,000 actions by 16 workers on 300 cases.
"""

import json
import os
import subprocess
import sys

import pytest

from core.db import engine
from core.settings import ROOT
from tests import walks

pytestmark = pytest.mark.database


def test_nothing_acknowledged_is_lost_whoever_is_killed(database: str) -> None:
    """`tests/faults.py` kills; a process of its own, because it forks."""
    if os.environ.get("WANGGE_STRESS") == "1":
        asked = ["--actions", "10000", "--workers", "16", "--cases", "300", "--longest", "1500"]
    else:
        asked = ["--actions", "600", "--workers", "6", "--cases", "40", "--longest", "300", "--seed", "20261122"]
    argv = [sys.executable, "-P", "-m", "tests.faults", *asked]
    done = subprocess.run(
        argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    # Connections of this process were among those that were cut.
    engine().dispose()
    walks.put_away()
    print(done.stdout)  # noqa: T201  the run's figures
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["killed"], "nobody was killed"
