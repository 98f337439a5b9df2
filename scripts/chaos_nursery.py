"""Forks Wetread's processes: `python -m scripts.chaos_nursery`, a JSON request on each line.

A process that is killed every few seconds must be back at once, and loading its libraries takes
seconds. So they are loaded here once; a child then does what the command `wetread` does.
A request is ``{"log": path, "arguments": [...]}``, the answer is the id of the child.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

import serving.node
import serving.web
import serving.worker
from serving.__main__ import main

_PR_SET_PDEATHSIG = 1
_LOADED = (serving.node, serving.web, serving.worker)


def _serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(Path(request["log"]), request["arguments"])
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def _become(log: Path, arguments: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 1
    try:
        code = main(arguments)
    finally:
        sys.stderr.write(f"ended with code {code}\n")
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
