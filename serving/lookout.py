"""Watches destinations that deliveries wait for, and wakes these as soon as one answers again.

So back-off may grow to minutes without delaying the return of a destination. Nothing here is
durable and nothing needs to be: whoever starts to wait is woken by the first answer.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import structlog

_log = structlog.get_logger(__name__)
_LOOKS_TO_SCOUT = 6

Probe = Callable[[str], str | None]


class Lookout:
    """One in each worker; used on its event loop only.

    `probe` says what is wrong with the way to a destination, ``None`` when it answers; it may take
    seconds. It is asked every `look_s` seconds while something waits. A destination that answers
    and yet takes nothing gets one delivery as a scout every sixth look; when one gets through, the
    others follow (`arrived`). `at_once` deliveries to one destination run at the same time.
    """

    def __init__(self, probe: Probe, *, look_s: float, at_once: int) -> None:
        self._probe, self._look_s = probe, look_s
        self._waiting: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._answers: dict[str, bool] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(at_once))

    def turn(self, destination: str) -> asyncio.Semaphore:
        """Return what limits the deliveries to one destination; it holds up no other."""
        return self._turns[destination]

    async def wait(self, destination: str, seconds: float) -> None:
        """Wait so long, or until there is reason to believe that the destination takes again."""
        woken = asyncio.get_running_loop().create_future()
        self._waiting[destination].append(woken)
        if destination not in self._watches:
            self._watches[destination] = asyncio.create_task(self._watch(destination))
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(woken, seconds)
        finally:
            self._waiting[destination].remove(woken)

    def arrived(self, destination: str) -> None:
        """Wake all who wait for a destination: it took something."""
        self._wake(self._waiting[destination])

    async def _watch(self, destination: str) -> None:
        looks = 0
        try:
            while self._waiting[destination]:
                await asyncio.sleep(self._look_s)
                looks += 1
                problem = await asyncio.to_thread(self._probe, destination)
                self._note(destination, problem, scout=looks % _LOOKS_TO_SCOUT == 0)
        finally:
            del self._watches[destination]

    def _note(self, destination: str, problem: str | None, *, scout: bool) -> None:
        answered, self._answers[destination] = self._answers.get(destination), problem is None
        if problem is not None:
            return
        waiting = self._waiting[destination]
        if not answered:
            _log.info("destination_answers", destination=destination, waiting=len(waiting))
            self._wake(waiting)
        elif scout:
            self._wake(waiting[:1])

    def _wake(self, waiting: list[asyncio.Future[None]]) -> None:
        for woken in waiting:
            if not woken.done():
                woken.set_result(None)
