"""Attacks on the REST interface: schemathesis on the whole OpenAPI, and broken STOW-RS requests."""

import http.client
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

from scripts import fuzz_files
from scripts.loopback import HOST

_SCHEMATHESIS = "schemathesis==4.*"
_EXAMPLES = 40
_STOW = "/dicomweb/studies"
_REQUESTS = 300
_SERVER_ERRORS = range(500, 600)
_NO_ROOM = 503, 507


def attack_rest(port: int, folder: Path, *, seed: int) -> list[str]:
    """Return what is wrong with the answers; schemathesis goes into an environment of its own."""
    return [
        *_schemathesis(port, folder / "schemathesis", seed),
        *_broken_stow(port, Random(seed)),
    ]


def _schemathesis(port: int, environment: Path, seed: int) -> list[str]:
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", _SCHEMATHESIS], check=True)
    command = [str(environment / "bin" / "st"), "run", f"http://{HOST}:{port}/openapi.json"]
    command += ["--checks", "not_a_server_error", "--max-examples", str(_EXAMPLES)]
    command += ["--seed", str(seed), "--request-timeout", "30", "--suppress-health-check", "all"]
    command += ["--exclude-path", "/api/events"]  # it never ends
    command += ["--exclude-path", "/readyz"]  # 503 is what it says while no worker runs
    done = subprocess.run(
        command, cwd=environment, capture_output=True, text=True, check=False
    )  # it leaves a cache where it runs
    print(re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)[-1500:])
    return [] if done.returncode == 0 else ["schemathesis found something"]


def _broken_stow(port: int, rng: Random) -> list[str]:
    statuses: Counter[int] = Counter()
    for _ in range(_REQUESTS):
        kind, body = fuzz_files.multipart(rng)
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        try:
            connection.request("POST", _STOW, body, {"Content-Type": kind})
            statuses[connection.getresponse().status] += 1
        except ConnectionError:
            statuses[0] += 1  # refused before all was sent
        finally:
            connection.close()
    print(f"STOW-RS: {dict(statuses)}")
    wrong = {s for s in statuses if s in _SERVER_ERRORS and s not in _NO_ROOM}
    return [f"STOW-RS was answered with {wrong}"] if wrong else []
