"""Where passwords are checked: one at a time, apart from all other work, and few in a queue.

Each check takes 32 MiB and a third of a second of a processor, by intent: guesses must take
neither the machine nor the threads that answer everybody else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_MOST = 10

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Desk:
    """Checks passwords for one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="password")
        self._waiting = 0

    @property
    def full(self) -> bool:
        """Whether so many wait that one more should come later."""
        return self._waiting >= _MOST

    async def checked(self, check: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what a check says when its turn has come."""
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, lambda: check(*args, **kwargs))
        finally:
            self._waiting -= 1
