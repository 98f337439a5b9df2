"""Keep the last few computed values: two models of one study read the same volume once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The `size` values used last, by key; a value asked for twice at once is computed once."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        self._values: OrderedDict[Hashable, Future[V]] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], V]) -> V:
        """Return the value of `key`, computed if it is not there; a failure is not kept."""
        with self._lock:
            future = self._values.get(key)
            mine = future is None
            if future is None:
                future = self._values[key] = Future()
                while len(self._values) > self._size:
                    self._values.popitem(last=False)
            self._values.move_to_end(key)
        if mine:
            self._fulfil(key, future, compute)
        return future.result()

    def keep(self, wanted: Callable[[Hashable], bool]) -> None:
        """Forget every value whose key is not `wanted`."""
        with self._lock:
            for key in [key for key in self._values if not wanted(key)]:
                del self._values[key]

    def _fulfil(self, key: Hashable, future: Future[V], compute: Callable[[], V]) -> None:
        try:
            future.set_result(compute())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for it
            with self._lock:
                if self._values.get(key) is future:  # not what came after it was pushed out
                    del self._values[key]
            future.set_exception(error)
