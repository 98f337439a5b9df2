import signal
import subprocess
import sys

import pytest

from imaging.errors import SetupError
from serving.slots import slot_taken, taken_slots

_HOLD = """
import sys, time
from pathlib import Path
from serving.slots import slot_taken
with slot_taken(Path(sys.argv[1]), "worker-0"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_slot_is_held_once(tmp_path):
    folder = tmp_path / "workers"
    assert taken_slots(folder) == ()
    with slot_taken(folder, "worker-0"), slot_taken(folder, "worker-1"):
        assert taken_slots(folder) == ("worker-0", "worker-1")
        with pytest.raises(SetupError, match="worker-0"), slot_taken(folder, "worker-0"):
            pass
        assert taken_slots(folder) == ("worker-0", "worker-1")
    assert taken_slots(folder) == ()
    with slot_taken(folder, "worker-0"):
        assert taken_slots(folder) == ("worker-0",)


def test_a_killed_process_gives_its_slot_back(tmp_path):
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert taken_slots(tmp_path) == ("worker-0",)
        process.send_signal(signal.SIGKILL)
        process.wait(5)
    assert taken_slots(tmp_path) == ()
