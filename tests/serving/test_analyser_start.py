import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.dicom_node.rig import wait_for

_WORKER = """
import os, subprocess, sys
command = [sys.executable, "-m", "serving.analyser_start", str(os.getpid())]
print(subprocess.Popen(command).pid, flush=True)
input()
"""


def test_an_analyser_does_not_outlive_a_worker_that_dies_while_it_loads():
    reading, writing = os.pipe()  # stays open: what is read from it does not end either
    command = [sys.executable, "-c", _WORKER]
    with subprocess.Popen(command, stdin=reading, stdout=subprocess.PIPE, text=True) as worker:
        analyser = Path("/proc") / worker.stdout.readline().strip()
        worker.send_signal(signal.SIGKILL)
    wait_for(lambda: not (analyser / "exe").exists(), seconds=60)
    os.close(reading)
    os.close(writing)


def test_an_analyser_whose_worker_is_gone_ends_at_once():
    command = [sys.executable, "-m", "serving.analyser_start", "1"]
    done = subprocess.run(
        command, stdin=subprocess.PIPE, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
