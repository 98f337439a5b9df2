"""Kill everything at random while studies come in, and see whether anything is lost.

Modalities (DCMTK's storescu) send small studies to a PACS (Orthanc) and to Wetread, some with late
slices, some again, some by two at once. Node, web, two workers with all they started, the PACS,
senders and, with `--database postgresql`, the database server are killed (SIGKILL) and started
again. In the end every acknowledged instance and every expected result in the PACS is looked for.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from imaging.errors import SetupError
from imaging.identity import AETitle
from scripts.chaos_audit import Audit, audited, open_work
from scripts.chaos_senders import Ledger, Sender, Target
from scripts.chaos_site import OURS, WORKERS, Site
from serving.engine import Client

_STEP_S = 0.05
_LONGEST_DEAD_S, _STAYS_DEAD_SHARE, _STAYS_DEAD_S = 2.0, 0.3, 15.0
_QUIET_LOOKS, _QUIET_LIMIT_S = 3, 300.0
_MOST_OPEN = 6
_SENDER, _SENDING_WITHIN_S = "sender", 3.0


@dataclass(slots=True)
class Figures:
    """What happened in the run."""

    killed: Counter[str] = field(default_factory=Counter)
    takeover_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    settled_s: float = 0.0


class Chaos:
    """One run."""

    def __init__(self, site: Site, senders: list[Sender], dice: random.Random) -> None:
        self._site, self._senders, self._dice = site, senders, dice
        self._client = Client(site.settings.work_url)
        self._due: dict[str, float] = {}
        self._watched: dict[str, float] = {}
        self.figures = Figures()

    def kill(self, kills: int, interval_s: float) -> None:
        """Kill so often; the pauses vary around `interval_s`."""
        while self.figures.killed.total() < kills:
            self._pass(self._dice.uniform(0.5, 1.5) * interval_s)
            self._kill_one()

    def _kill_one(self) -> None:
        alive = [name for name in self._site.names if self._site.runs(name)]
        if self._watched:  # who shall take over is left alone
            alive = [name for name in alive if name not in WORKERS]
        name = self._dice.choice([*alive, _SENDER])
        if name == _SENDER:
            self._kill_sender(self._dice.choice(self._senders))
        else:
            self._kill(name)
            self.figures.killed[name] += 1

    def _kill_sender(self, sender: Sender) -> None:
        """Kill it while it sends; when it has nothing to send for a while, it is let off."""
        before, until = sender.killed, time.monotonic() + _SENDING_WITHIN_S
        sender.kill_soon()
        while sender.killed == before and time.monotonic() < until:
            self._pass(_STEP_S)
        self.figures.killed[_SENDER] += sender.killed - before

    def _kill(self, name: str) -> None:
        dead_s = self._dice.uniform(0.0, _LONGEST_DEAD_S)
        others = [worker for worker in WORKERS if worker != name]
        stays = name in WORKERS and self._dice.random() < _STAYS_DEAD_SHARE
        self._site.kill(name)
        now = time.monotonic()
        if stays and all(map(self._site.runs, others)) and name in self._busy():
            self._watched[name], dead_s = now, _STAYS_DEAD_S
        self._due[name] = now + dead_s

    def _pass(self, seconds: float) -> None:
        """Let time pass, and start again what has been dead long enough."""
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            if time.monotonic() >= deadline:
                return
            time.sleep(_STEP_S)

    def _look(self) -> None:
        now = time.monotonic()
        if self._watched:
            busy = self._busy()
            for name in [name for name in self._watched if name not in busy]:
                self.figures.takeover_s.append(now - self._watched.pop(name))
                self._due[name] = now
        for name in [name for name, due in self._due.items() if due <= now]:
            del self._due[name]
            self._watched.pop(name, None)
            self._site.start(name)
        if "database" not in self._due:
            self._site.start_what_ended()

    def _busy(self) -> frozenset[str]:
        """Return the slots with begun work; all, while the database is away."""
        with suppress(SQLAlchemyError):
            return self._client.busy_slots()
        return frozenset(WORKERS)

    def settle(self) -> float:
        """Stop sending and wait until nothing is left to do; return the seconds it took."""
        begun, quiet = time.monotonic(), 0
        self._due = dict.fromkeys(self._due, 0.0)
        for sender in self._senders:
            sender.stop.set()
        while quiet < _QUIET_LOOKS and time.monotonic() - begun < _QUIET_LIMIT_S:
            self._pass(1.0)
            sending = any(sender.is_alive() for sender in self._senders)
            quiet = 0 if sending or _open_work(self._site) else quiet + 1
        return time.monotonic() - begun


def _open_work(site: Site) -> int:
    """Return how much is to be done; a lot while nobody can say."""
    with suppress(SQLAlchemyError):
        return sum(open_work(site.parts).values())
    return sys.maxsize


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run once, print and write the report; return the exit code."""
    dice = random.Random(options.seed)  # noqa: S311 - not for secrets
    ledger, begun = Ledger(), time.monotonic()
    titles = tuple(AETitle(f"MODALITY{number}") for number in range(1, options.senders + 1))
    site = Site(folder, titles, postgresql=options.database == "postgresql")
    try:
        targets = (
            Target(ae_title=site.pacs.ae_title, port=site.pacs.dicom_port),
            Target(ae_title=OURS, port=site.port),
        )
        senders = [
            Sender(
                number,
                targets,
                ledger,
                folder=folder / "studies",
                seed=dice.getrandbits(32),
                may_start=lambda: _open_work(site) < _MOST_OPEN,
            )
            for number in range(1, options.senders + 1)
        ]
        for sender in senders:
            sender.start()
        chaos = Chaos(site, senders, dice)
        chaos.kill(options.kills, options.seconds / options.kills)
        chaos.figures.settled_s = chaos.settle()
        chaos.figures.seconds = time.monotonic() - begun
        audit = audited(site, ledger)
    finally:
        site.stop()
    report = {
        "seed": options.seed,
        "database": options.database,
        "load": os.getloadavg(),
        "ended by themselves": site.ended,
        "sent": ledger.counts,
        **_plain(chaos.figures),
        **_plain(audit),
    }
    sys.stdout.write("\n".join([*_lines(report), *audit.lines(), ""]))
    if options.report:
        options.report.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 0 if audit.is_clean else 1


def _plain(record: Figures | Audit) -> dict[str, Any]:
    values = ((each.name, getattr(record, each.name)) for each in fields(record))
    return {name: dict(v) if isinstance(v, Counter) else v for name, v in values}


def _lines(report: dict[str, Any]) -> list[str]:
    """Return in words what happened."""
    killed, times = report["killed"], report["takeover_s"]
    took = f"median {median(times):.1f} s, longest {max(times):.1f} s" if times else "none"
    return [
        f"seed {report['seed']}, {report['database']}, load {report['load'][0]:.1f}",
        f"{sum(killed.values())} kills in {report['seconds']:.0f} s: {_told(killed)}",
        f"ended by themselves: {_told(report['ended by themselves']) or 'none'}",
        f"sent: {_told(report['sent'])}",
        f"{len(times)} takeovers from a worker that stayed dead: {took}",
        f"all done {report['settled_s']:.0f} s after the last kill",
    ]


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="what is killed when (default 1)")
    parser.add_argument("--kills", type=int, default=500, help="how often (default 500)")
    parser.add_argument(
        "--seconds", type=float, default=1500.0, help="over how long (default 1500)"
    )
    parser.add_argument("--senders", type=int, default=2, help="modalities (default 2)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--report", type=Path, help="write the report as JSON to this file")
    parser.add_argument("--folder", type=Path, help="work here, in a new folder, and keep it")
    options = parser.parse_args()
    try:
        if options.folder:
            options.folder.mkdir(parents=True)
            return run(options, options.folder.resolve())
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)  # for root, PostgreSQL's server runs as another user
            return run(options, Path(folder))
    except (SetupError, FileExistsError) as error:
        sys.stderr.write(f"chaos: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
