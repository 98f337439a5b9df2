"""Modalities of the chaos run: DCMTK's storescu sends study after study to the PACS and to Wetread.

What was answered with success is noted, instance by instance; what was not is sent again.
"""

import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from imaging.identity import AETitle
from scripts.chaos_studies import ChaosStudy, write_study
from scripts.loopback import HOST

_ANSWERED = re.compile(r"Sending file: (\S+)\n(?:.*\n)*?.*Received Store Response \((\w+)")
_STORESCU = ("storescu", "-v", "-to", "3", "-ta", "10", "-td", "20")
_LONGEST_SENDING_S = 0.1
_PAUSE_S, _LATE_S = 0.4, (1.0, 6.0)
_RESEND_SHARE, _TWO_AT_ONCE_SHARE = 0.2, 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where studies are sent to."""

    ae_title: AETitle
    port: int


@dataclass(slots=True)
class Ledger:
    """What was sent and acknowledged; shared by all senders."""

    studies: list[ChaosStudy] = field(default_factory=list)
    acknowledged: dict[AETitle, set[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, title: AETitle, uids: set[str]) -> None:
        """Note instances that `title` answered with success."""
        with self.lock:
            self.acknowledged.setdefault(title, set()).update(uids)
            self.counts["acknowledged"] += len(uids)

    def left(self, title: AETitle, uids: Sequence[str]) -> list[str]:
        """Return those of `uids` that `title` has not acknowledged."""
        with self.lock:
            known = self.acknowledged.get(title, set())
            return [uid for uid in uids if uid not in known]


class Sender(threading.Thread):
    """One modality. After `stop` is set it ends when its last study is acknowledged everywhere."""

    def __init__(
        self,
        number: int,
        targets: Sequence[Target],
        ledger: Ledger,
        *,
        folder: Path,
        seed: int,
        may_start: Callable[[], bool],
    ) -> None:
        super().__init__(name=f"MODALITY{number}", daemon=True)
        self._number, self._targets, self._ledger = number, targets, ledger
        self._folder, self._dice, self._may_start = folder, random.Random(seed), may_start  # noqa: S311
        self._condemned = threading.Event()
        self.killed = 0
        self.stop = threading.Event()

    @override
    def run(self) -> None:
        """Send studies until told to stop."""
        sent = 0
        while not self.stop.is_set():
            if self._may_start():
                sent += 1
                self._send_study(1000 * self._number + sent)
            self.stop.wait(_PAUSE_S)

    def kill_soon(self) -> None:
        """Send SIGKILL to this or the next sending while it lasts; `killed` counts up then."""
        self._condemned.set()

    def _send_study(self, number: int) -> None:
        study = write_study(number, self._dice, self._folder)
        for part in study.parts:
            if part != study.parts[0]:
                time.sleep(self._dice.uniform(*_LATE_S))
                self._ledger.counts["late parts"] += 1
            for target in self._dice.sample(self._targets, len(self._targets)):
                self._send_until_acknowledged(study, part, target)
        if self._dice.random() < _RESEND_SHARE:
            self._ledger.counts["studies sent again"] += 1
            self._send(study, list(study.slices), self._dice.choice(self._targets))
        with self._ledger.lock:
            self._ledger.studies.append(study)

    def _send_until_acknowledged(
        self, study: ChaosStudy, uids: Sequence[str], target: Target
    ) -> None:
        while left := self._ledger.left(target.ae_title, uids):
            if self._dice.random() < _TWO_AT_ONCE_SHARE:
                half = threading.Thread(target=self._send, args=(study, left[::2], target))
                half.start()
                self._send(study, left[1::2], target)
                half.join()
            else:
                self._send(study, left, target)
            if self._ledger.left(target.ae_title, uids):
                self._ledger.counts["sendings interrupted"] += 1
                time.sleep(self._dice.uniform(0.2, 1.0))

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a sending at a random moment; if it ends before, the next one is tried."""
        time.sleep(self._dice.uniform(0.0, _LONGEST_SENDING_S))
        if process.poll() is None:
            process.kill()
            self._condemned.clear()
            self.killed += 1

    def _send(self, study: ChaosStudy, uids: Sequence[str], target: Target) -> None:
        """Send once, and note what was acknowledged until the end, whatever ended it."""
        if not uids:
            return
        names = {str(study.slices[uid]): uid for uid in uids}
        process = subprocess.Popen(
            [
                *_STORESCU,
                "-aet",
                self.name,
                "-aec",
                target.ae_title,
                HOST,
                str(target.port),
                *names,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"TCP_NODELAY": "1", "PATH": "/usr/bin"},
        )
        if self._condemned.is_set():
            self._kill(process)
        output, _ = process.communicate()
        said = _ANSWERED.findall(output.decode(errors="replace"))
        self._ledger.note(target.ae_title, {names[name] for name, how in said if how == "Success"})
        for _, how in said:
            self._ledger.counts[f"answers: {how}"] += 1
