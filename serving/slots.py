"""Worker slots: one process in each, so that a restart goes on with the work of its predecessor.

A slot is a lock that goes with its process, however that ends: beside an SQLite file a lock on a
file, on PostgreSQL an advisory lock of a session. So a slot that nobody holds has no live worker,
and whoever holds a dead one's lock may take over its work without a race.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from imaging.errors import SetupError

# Whether a slot is still held. A process that has lost its slot must end at once.
StillHeld: TypeAlias = Callable[[], bool]

RETENTION_SLOT = "retention"  # no worker, but who removes studies or makes a backup
SHADOW_SLOT = "shadow"  # no worker either, but who lets versions read in the shadow
NO_WORKERS = frozenset((RETENTION_SLOT, SHADOW_SLOT))
_WAIT_S = 3.0  # a look at a slot, or a takeover of its work, holds it for a moment
_RETRY_S = 0.05
_LOCK_CLASS = 0x57455453  # any constant: the class of our advisory locks
# The server must notice a host that vanished, and we a server that did, within seconds.
_SERVER_NOTICES = "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"
_WE_NOTICE = {
    "connect_timeout": 3,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 4000,
}


class Slots(Protocol):
    """The slots of all workers that share one work engine."""

    def taken(self, slot: str) -> AbstractContextManager[StillHeld]:
        """Hold a slot.

        Raises
        ------
        SetupError
            Another process holds it.
        """

    def held(self) -> tuple[str, ...]:
        """Return the slots that live workers hold."""


def open_slots(work_url: str, folder: Path) -> Slots:
    """Return the slots beside the work engine's database: in `folder` when that is SQLite."""
    return FileSlots(folder) if work_url.startswith("sqlite") else PostgresSlots(work_url)


class FileSlots:
    """Slots of one machine: the lock of a file is given back by the kernel."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def taken(self, slot: str) -> Iterator[StillHeld]:
        """Hold a slot."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / slot).open("w") as lock:
            _insist(lambda: _locks(lock.fileno(), fcntl.LOCK_EX), slot)
            yield lambda: True

    def held(self) -> tuple[str, ...]:
        """Return the slots that live workers hold."""
        return tuple(path.name for path in sorted(self._folder.glob("*")) if _is_held(path))


class PostgresSlots:
    """Slots of any number of hosts: the lock of a session is given back by the server."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")

    @contextmanager
    def taken(self, slot: str) -> Iterator[StillHeld]:
        """Hold a slot, as long as the session lasts."""
        lock = sa.select(sa.func.pg_try_advisory_lock(_LOCK_CLASS, sa.func.hashtext(slot)))
        with self._session(slot) as session:
            _insist(lambda: bool(session.execute(lock).scalar_one()), slot)
            yield lambda: _answers(session)

    def held(self) -> tuple[str, ...]:
        """Return the slots that live workers hold."""
        query = sa.text(
            "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
            " WHERE locktype = 'advisory' AND classid = :class AND granted ORDER BY 1"
        )
        with self._session("look") as session:
            return tuple(session.execute(query, {"class": _LOCK_CLASS}).scalars())

    @contextmanager
    def _session(self, name: str) -> Iterator[sa.Connection]:
        arguments = {**_WE_NOTICE, "application_name": name, "options": _SERVER_NOTICES}
        engine = sa.create_engine(
            self._url,
            connect_args=arguments,
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
        )
        with engine.connect() as session:
            yield session


def _insist(attempt: Callable[[], bool], slot: str) -> None:
    """Try to take a slot for a while."""
    deadline = time.monotonic() + _WAIT_S
    while not attempt():
        if time.monotonic() > deadline:
            msg = f"another process works as {slot}"
            raise SetupError(msg)
        time.sleep(_RETRY_S)


def _locks(file: int, kind: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        return True
    return False


def _is_held(path: Path) -> bool:
    with path.open() as lock:
        return not _locks(lock.fileno(), fcntl.LOCK_SH)


def _answers(session: sa.Connection) -> bool:
    with suppress(DBAPIError):
        session.execute(sa.text("SELECT 1"))
        return True
    return False
