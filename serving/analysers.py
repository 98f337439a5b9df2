"""The analysers of a worker: each works on one study at a time and is replaced when it dies."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serving.analyser_process import AnalyserProcess
from serving.questions import Answer
from serving.settings import Settings

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0


class _Place:
    """One analyser, and the study it works on or worked on last."""

    def __init__(self) -> None:
        self.process: AnalyserProcess | None = None
        self.study_uid = ""
        self.asked = 0
        self.alone = False


class Analysers:
    """Gives steps to analysers. A study whose analysis kills its process takes no other along.

    The first always runs, the others from when they are first needed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._waiting = settings, 0
        self._places = [_Place() for _ in range(settings.analysis.studies_at_once)]
        self._changed = threading.Condition()
        # It never ends: the kernel kills an analyser when the thread that started it ends.
        threading.Thread(target=self._keep_running, name="analysers", daemon=True).start()

    def ask(
        self, study_uid: str, step: str, argument: Any, *, limit_s: float, alone: bool = False
    ) -> Answer:
        """Have a step taken by an analyser that is free or works on this study already.

        `alone`: while nothing else is asked of it, because an earlier try failed.
        """
        with self._lent(study_uid, alone=alone) as process:
            return process.ask(study_uid, step, argument, limit_s=limit_s)

    @contextmanager
    def _lent(self, study_uid: str, *, alone: bool) -> Iterator[AnalyserProcess]:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            while (place := self._free(study_uid, alone=alone)) is None:
                self._changed.wait()
            self._waiting -= 1
            process = place.process
            assert process is not None
            place.study_uid, place.alone = study_uid, alone
            place.asked += 1
        try:
            yield process
        finally:
            with self._changed:
                place.asked -= 1
                place.alone = False
                self._changed.notify_all()

    def _free(self, study_uid: str, *, alone: bool) -> _Place | None:
        here = [place for place in self._places if place.asked and place.study_uid == study_uid]
        if here:
            may_join = not alone and not here[0].alone and _works(here[0])
            return here[0] if may_join else None
        free = [place for place in self._places if not place.asked and _works(place)]
        # The one that had it last knows its voxels still.
        free.sort(key=lambda place: place.study_uid != study_uid)
        return free[0] if free else None

    def _keep_running(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            with self._changed:
                while (place := self._vacant()) is None:
                    self._changed.wait()
            process = AnalyserProcess(self._settings, self._notice)
            if process.wait_until_ready():
                pause_s = _FIRST_PAUSE_S
            else:
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            with self._changed:
                place.process = process
                self._changed.notify_all()

    def _vacant(self) -> _Place | None:
        wanted = self._places if self._waiting else self._places[:1]
        return next((place for place in wanted if not _works(place)), None)

    def _notice(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _works(place: _Place) -> bool:
    return place.process is not None and place.process.alive
