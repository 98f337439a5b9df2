"""Seconds by stage."""

import time


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Note the time since the last lap as that of `stage`."""
        now = time.perf_counter()
        self._laps[stage], self._last = round(now - self._last, 4), now

    def note(self, stage: str, seconds: float) -> None:
        """Note a time that was measured elsewhere."""
        self._laps[stage] = round(seconds, 4)

    def of(self, model: str) -> dict[str, float]:
        """Return what was noted, by model and stage."""
        return {f"{model}/{stage}": seconds for stage, seconds in self._laps.items()}
