"""Attacks on a running node, by seed, with healthy traffic beside them; prints what came of it.

A storescu stores the same study over and over while, in turn, another node and this one are under
attack, so that the machine is as busy: the two paces, and what the node holds of memory, handles
and threads before and after, are the result.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from scripts import fuzz_files
from scripts.child_process import ChildProcess
from scripts.fuzz_dicom import ATTACKS, Target, outcome
from scripts.fuzz_http import attack_rest
from scripts.loopback import HOST, answers, free_port
from serving.folder import read_folder

_SETTINGS = """data_folder = "data"
[node]
port = {port}
allow_loopback = true
max_associations_per_peer = 8
[web]
port = {web}
[storage]
min_free_gb = 0.2
[limits]
message_mb = 16
half_open = 16
associate_s = 2
grace_s = 2
slowest_kb_s = 1024
idle_s = 5
[log]
level = "error"
"""
_FILES, _FILE_BYTES = 40, 135_000
_QUIET_S, _ATTACK_S = 20.0, 20.0
_SETTLE_S = 60.0
_PEERS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process holds."""

    resident_mb: float
    handles: int
    threads: int


def main(arguments: list[str] | None = None) -> int:
    """Attack; return 1 when anything crashed, hung or leaked, or healthy traffic was held up."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz.py", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins")
    parser.add_argument("--http", action="store_true", help="also REST, by schemathesis")
    chosen = parser.parse_args(arguments)
    with ExitStack() as stops:
        folder = Path(stops.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        service = _Service(folder, stops)
        run = _Run(service, chosen.seed, decoy=service.start_decoy(stops))
        run.warm_up()
        before = service.settled()
        began = time.monotonic()
        while time.monotonic() - began < 60 * chosen.minutes:
            run.round()
            service.require_running()
        after = service.settled(before)
        problems = run.report(before, after, time.monotonic() - began)
        if chosen.http:
            problems += attack_rest(service.web_port, folder, seed=chosen.seed)
        service.require_running()
    print("\n".join(problems) or "no crash, no hang, no leak")
    return 1 if problems else 0


class _Service:
    """Node and web process on free ports; by real-time priority where that is allowed."""

    def __init__(self, folder: Path, stops: ExitStack) -> None:
        self.folder = folder
        self.port, self.web_port = free_port(11113), free_port(8001)
        text = _SETTINGS.format(port=self.port, web=self.web_port)
        (folder / "wetread.toml").write_text(text, encoding="utf-8")
        self._priority = ["chrt", "-r", "1"] if os.geteuid() == 0 and shutil.which("chrt") else []
        self.node = self._start(folder, "node", stops, priority=self._priority)
        self.web = self._start(folder, "web", stops)
        self.node.wait_until(lambda: self._echoes(self.port), limit_s=60)
        self.web.wait_until(lambda: answers(self.web_port, "/healthz"), limit_s=60)

    def start_decoy(self, stops: ExitStack) -> int:
        """Start another node, for attacks that load the machine alike and leave ours alone."""
        folder, port = self.folder / "decoy", free_port(11213)
        folder.mkdir()
        text = _SETTINGS.format(port=port, web=1)
        (folder / "wetread.toml").write_text(text, encoding="utf-8")
        decoy = self._start(folder, "node", stops)
        decoy.wait_until(lambda: self._echoes(port), limit_s=60)
        return port

    def store(self, files: Path) -> bool:
        """Send a folder as a sound peer does."""
        command = ["storescu", "-aet", "SCANNER", "-aec", "WETREAD", HOST, str(self.port)]
        return self._run([*command, "+sd", str(files)])

    def require_running(self) -> None:
        """Raise `SetupError` when a process has died."""
        self.node.require_running()
        self.web.require_running()

    def held(self) -> Held:
        """Return what the node holds now."""
        status = Path(f"/proc/{self.node.pid}/status").read_text(encoding="ascii")
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        return Held(
            resident_mb=int(values["VmRSS"].split()[0]) / 1024,
            handles=len(os.listdir(f"/proc/{self.node.pid}/fd")),  # noqa: PTH208 - not files
            threads=int(values["Threads"]),
        )

    def settled(self, before: Held | None = None) -> Held:
        """Wait until what ends has ended, and return what is held then."""
        until = time.monotonic() + _SETTLE_S
        time.sleep(5)
        while before and time.monotonic() < until and self.held().threads > before.threads:
            time.sleep(1)
        return self.held()

    def _start(
        self, folder: Path, name: str, stops: ExitStack, *, priority: Sequence[str] = ()
    ) -> ChildProcess:
        command = [sys.executable, "-m", "serving", "--settings", str(folder / "wetread.toml")]
        process = ChildProcess(name, [*priority, *command, name], log=folder / f"{name}.log")
        stops.callback(process.stop)
        return process

    def _echoes(self, port: int) -> bool:
        return self._run(["echoscu", "-aec", "WETREAD", HOST, str(port)])

    def _run(self, command: list[str]) -> bool:
        done = subprocess.run(
            [*self._priority, *command],
            env={**os.environ, "TCP_NODELAY": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        return done.returncode == 0


class _Run:
    """Rounds of quiet and attack, and what came of them."""

    def __init__(self, service: _Service, seed: int, *, decoy: int) -> None:
        self._service, self._rng = service, Random(seed)
        self._target, self._decoy = Target(port=service.port), Target(port=decoy)
        self._outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self._paces: dict[bool, list[float]] = {False: [], True: []}
        self._refused, self._strange = 0, 0
        self._resident: list[float] = []
        self._lock = threading.Lock()
        self._files = service.folder / "healthy"
        self._files.mkdir()
        for number in range(_FILES):
            self._write_healthy(number)

    def warm_up(self) -> None:
        """Let the node grow to what it needs: everything once."""
        self._service.store(self._files)
        for attack in ATTACKS:
            outcome(attack, self._target, Random(self._rng.random()))
        self.round()

    def round(self) -> None:
        """Measure the healthy pace while another node is under attack, then while ours is."""
        for target, seconds in ((self._decoy, _QUIET_S), (self._target, _ATTACK_S)):
            stop = threading.Event()
            peers = [self._attacker(target, number, stop) for number in range(_PEERS)]
            for peer in peers:
                peer.start()
            self._measure(seconds, attacked=target is self._target)
            stop.set()
            for peer in peers:
                peer.join()
        self._read_polyglots()

        self._resident.append(self._service.held().resident_mb)

    def report(self, before: Held, after: Held, seconds: float) -> list[str]:
        """Print the result; return what is wrong."""
        alone, attacked = (statistics.median(self._paces[each]) for each in (False, True))
        number = sum(sum(counts.values()) for counts in self._outcomes.values())
        print(f"{number} attacks in {seconds / 60:.1f} min on {platform.node()}, ")
        print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
        for name, counts in self._outcomes.items():
            print(f"  {name}: {', '.join(f'{n} {what}' for what, n in counts.most_common())}")
        print(f"healthy: {alone:.0f}/s alone, {attacked:.0f}/s under attack")
        print(f"ratio {attacked / alone:.2f}; {self._refused} healthy runs refused")
        print(f"files another program may take for its own: {self._strange} read, none opened")
        print(f"resident MB after each round: {[round(each) for each in self._resident]}")
        print(f"before {before}\nafter  {after}")
        hangs = sum(counts["hang"] for counts in self._outcomes.values())
        found = {
            f"{hangs} attacks were neither answered nor ended": hangs,
            f"{self._refused} healthy runs were refused": self._refused,
            "healthy traffic lost more than a fifth": attacked < 0.8 * alone,
            "handles leak": after.handles > before.handles + 5,
            "threads leak": after.threads > before.threads + 2,
            "memory leaks": after.resident_mb > 1.25 * before.resident_mb + 20,
        }
        return [text for text, wrong in found.items() if wrong]

    def _measure(self, seconds: float, *, attacked: bool) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            stored = self._service.store(self._files)
            self._refused += not stored
            self._paces[attacked].append(_FILES * stored / (time.monotonic() - began))

    def _attacker(self, target: Target, number: int, stop: threading.Event) -> threading.Thread:
        """Return a thread that attacks from an address of its own."""
        rng, target = Random(self._rng.random()), replace(target, source=f"127.0.0.{number + 2}")

        def attack_on() -> None:
            while not stop.is_set():
                attack = rng.choice(ATTACKS)
                found = outcome(attack, target, Random(rng.random()))
                if target.port == self._target.port:
                    with self._lock:
                        self._outcomes[attack.__name__][found] += 1

        return threading.Thread(target=attack_on)

    def _read_polyglots(self) -> None:
        """Read files of the kind that `wetread analyse` and `wetread inspect` may be given."""
        with tempfile.TemporaryDirectory() as folder:
            for number in range(50):
                made = fuzz_files.polyglot(Random(self._rng.random()))
                Path(folder, f"{number}.dcm").write_bytes(made)
            self._strange += len(list(read_folder(Path(folder))))

    def _write_healthy(self, number: int) -> None:
        side = 256
        ds = fuzz_files.sound(
            SOPInstanceUID=f"1.2.826.0.9.{number + 1}",
            StudyInstanceUID="1.2.826.0.7",
            PatientID="HEALTHY",
            Rows=side,
            Columns=side,
            PixelData=Random(number).randbytes(side * side * 2),
        )
        made = fuzz_files.part10(fuzz_files.encoded(ds))
        (self._files / f"{number}.dcm").write_bytes(made)


if __name__ == "__main__":
    sys.exit(main())
