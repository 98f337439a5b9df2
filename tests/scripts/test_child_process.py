"""scripts/child_process.py: what is started is stopped, with everything it started itself."""

import os
import sys
import time
from pathlib import Path

import pytest

from imaging.errors import SetupError
from scripts.child_process import ChildProcess


def _alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but is not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_stop_ends_the_program_and_its_children(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    log = tmp_path / "program.log"
    process = ChildProcess("program", [sys.executable, "-c", program], log=log)
    process.wait_until(lambda: bool(log.read_text().strip()), limit_s=20)
    child = int(log.read_text())
    assert _alive(child)
    process.stop()
    end = time.monotonic() + 5
    while _alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(child)
    with pytest.raises(SetupError, match="ended with code -15"):
        process.require_running()


def test_a_program_that_ends_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os, sys; sys.exit('no ' + os.environ['WHAT'])"]
    process = ChildProcess(
        "program", command, log=tmp_path / "log", environment={"WHAT": "port left"}
    )
    with pytest.raises(SetupError, match=r"ended with code 1:\nno port left"):
        process.wait_until(lambda: False, limit_s=20)
    process.stop()
    assert "WHAT" not in os.environ
