"""A short run of `scripts/chaos.py`: everything is killed while studies come in."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.orthanc import program

_ROOT = Path(__file__).parents[2]
_KILLS = 22


def test_whatever_is_killed_nothing_is_lost_double_or_stale(tmp_path: Path):
    if program() is None or shutil.which("storescu") is None:
        pytest.skip("Orthanc or DCMTK is not installed")
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "scripts.chaos", "--seed", "7", "--kills", str(_KILLS)]
    options = ["--seconds", "40", "--folder", str(tmp_path / "site"), "--report", str(report)]
    done = subprocess.run(
        [*command, *options], cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["lost"] == found["double"] == found["stale"] == []
    assert sum(found["killed"].values()) >= _KILLS
    assert found["counts"]["studies"] >= 2
    assert found["counts"]["acknowledged instances"] >= 2 * 8
    assert found["counts"]["results in the PACS"] >= 2 * 3
    assert found["counts"]["messages"] >= 2
