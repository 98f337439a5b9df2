"""Many threads, one transaction: the first to come writes for all who wait."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from imaging.errors import SetupError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
_LARGEST = 500


class _Ticket(Generic[Item, Outcome]):
    """One item; `taken` into a batch it has either an outcome or an error."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.taken = False
        self.outcome: Outcome
        self.error: Exception | None = SetupError("the index was not written")


class GroupCommit(Generic[Item, Outcome]):
    """Collects items from threads and writes them together, without a thread of its own.

    Whoever holds the writing lock writes what has queued up; the others find their item written
    when the lock is theirs. Items with equal `key` never share a batch.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Sequence[Outcome]],
        *,
        key: Callable[[Item], Hashable],
    ) -> None:
        self._write, self._key = write, key
        self._waiting: deque[_Ticket[Item, Outcome]] = deque()
        self._queue, self._writing = threading.Lock(), threading.Lock()

    def submit(self, item: Item) -> Outcome:
        """Return the outcome of `item` once the batch it was written in is committed."""
        ticket: _Ticket[Item, Outcome] = _Ticket(item)
        with self._queue:
            self._waiting.append(ticket)
        with self._writing:
            while not ticket.taken:
                self._write_batch(self._batch())
        if ticket.error is not None:
            raise ticket.error
        return ticket.outcome

    def _batch(self) -> list[_Ticket[Item, Outcome]]:
        batch: dict[Hashable, _Ticket[Item, Outcome]] = {}
        with self._queue:
            for ticket in list(self._waiting)[:_LARGEST]:
                batch.setdefault(self._key(ticket.item), ticket)
            for ticket in batch.values():
                self._waiting.remove(ticket)
                ticket.taken = True
        return list(batch.values())

    def _write_batch(self, batch: Sequence[_Ticket[Item, Outcome]]) -> None:
        try:
            outcomes = self._write([ticket.item for ticket in batch])
        except SQLAlchemyError as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for ticket in batch:  # one bad item must not spoil the others
                self._write_batch([ticket])
            return
        for ticket, outcome in zip(batch, outcomes, strict=True):
            ticket.outcome, ticket.error = outcome, None
