import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imaging.errors import SetupError
from serving.slots import open_slots
from tests.dicom_node.rig import wait_for

_HOLD = """
import sys, time
from pathlib import Path
from serving.slots import open_slots
with open_slots(sys.argv[1], Path(sys.argv[2])).taken("worker-0"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    needed = request.param == "postgresql"
    return str(request.getfixturevalue("postgresql_url")) if needed else "sqlite:///engine.sqlite"


def test_a_slot_is_held_once(url: str, tmp_path: Path):
    slots = open_slots(url, tmp_path / "workers")
    assert slots.held() == ()
    with slots.taken("worker-0") as still_held, slots.taken("worker-1"):
        assert slots.held() == ("worker-0", "worker-1")
        with pytest.raises(SetupError, match="worker-0"), slots.taken("worker-0"):
            pass
        assert slots.held() == ("worker-0", "worker-1")
        assert still_held()
    wait_for(lambda: slots.held() == ())
    with slots.taken("worker-0"):
        assert slots.held() == ("worker-0",)


def test_a_killed_process_gives_its_slot_back(url: str, tmp_path: Path):
    slots = open_slots(url, tmp_path)
    command = [sys.executable, "-c", _HOLD, url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert slots.held() == ("worker-0",)
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    wait_for(lambda: slots.held() == ())
