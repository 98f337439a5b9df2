"""One analyser from the worker's side: started, asked, and killed when it takes too much."""

import itertools
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from serving.questions import Answer, End, Question
from serving.settings import Settings

_log = structlog.get_logger(__name__)
_LOOK_S = 0.2


class _Call:
    """A question that waits for its answer."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.answer: Answer | None = None

    def settle(self, answer: Answer) -> None:
        if self.answer is None:
            self.answer = answer
            self.answered.set()


class AnalyserProcess:
    """A running analyser; `on_end` is called when it has ended, however that came.

    One that stands `aside` takes only the processor time that nobody else wants.
    """

    def __init__(
        self, settings: Settings, on_end: Callable[[], None], *, aside: bool = False
    ) -> None:
        self._most_bytes, self._on_end = settings.analysis.memory_bytes, on_end
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._lock, self._ready = threading.Lock(), threading.Event()
        self._paused: tuple[int, ...] = ()
        self._killed = False
        self._process = subprocess.Popen(  # noqa: S603 - words are ours
            [sys.executable, "-m", "serving.analyser_start", str(os.getpid()), *["aside"] * aside],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin is not None
        self._input = self._process.stdin
        self._write(settings.model_dump_json())
        threading.Thread(target=self._listen, name="analyser", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self._killed and self._process.poll() is None

    def wait_until_ready(self) -> bool:
        """Return once it has loaded its models; whether it lives."""
        self._ready.wait()
        return self.alive

    def ask(self, study_uid: str, step: str, argument: Any, *, limit_s: float) -> Answer:
        """Have a step taken. Time spent waiting for a device does not count."""
        call, number = _Call(), next(self._numbers)
        with self._lock:
            self._calls[number] = call
        asked = Question(number=number, study_uid=study_uid, step=step, argument=argument)
        self._write(asked.model_dump_json())
        if not self.alive:
            self._end()
        self._watch(number, call, limit_s)
        with self._lock:
            self._calls.pop(number, None)
        assert call.answer is not None
        return call.answer

    def kill(self) -> None:
        """End the process."""
        self._killed = True
        self._process.kill()

    def _watch(self, number: int, call: _Call, limit_s: float) -> None:
        spent_s, last = 0.0, time.monotonic()
        while not call.answered.wait(_LOOK_S):
            now = time.monotonic()
            spent_s += 0.0 if number in self._paused else now - last
            last = now
            if spent_s > limit_s:
                call.settle(Answer(number=0, end=End.LATE))
                self._stop_others(Answer(number=0, end=End.INTERRUPTED))
            elif self._bytes() > self._most_bytes:
                self._stop_others(Answer(number=0, end=End.DIED, detail="memory"))

    def _stop_others(self, answer: Answer) -> None:
        """Kill the process; what it was asked and has not answered gets `answer`."""
        self.kill()
        with self._lock:
            calls = list(self._calls.values())
        for each in calls:
            each.settle(answer)

    def _bytes(self) -> int:
        """Memory that it holds now."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * resource.getpagesize()

    def _write(self, line: str) -> None:
        # An error says that it has died, which the listening thread sees.
        with self._lock, suppress(OSError, ValueError):
            self._input.write(line + "\n")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = Answer.model_validate_json(line)
            if answer.number == 0:
                self._paused = answer.paused
                self._ready.set()
                continue
            with self._lock:
                call = self._calls.get(answer.number)
            if call is not None:
                call.settle(answer)
        code = self._process.wait()
        _log.error("analyser_died", code=code)
        self._process.stdout.close()
        with self._lock, suppress(OSError):  # what was not yet written is of no use to anybody
            self._input.close()
        self._end(code)

    def _end(self, code: int = 0) -> None:
        self._stop_others(Answer(number=0, end=End.DIED, detail=f"exit code {code}"))
        self._ready.set()
        self._on_end()
