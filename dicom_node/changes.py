"""Whether the database has changed: so cheap a question that it may be asked before each answer."""

import contextlib
import sqlite3
import threading

import sqlalchemy as sa


class Changes:
    """A number that differs whenever anybody has written in between; SQLite only.

    PostgreSQL has nothing like it, so there it is never known. Safe to share between threads.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._path = engine.url.database if engine.dialect.name == "sqlite" else None
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def now(self) -> int | None:
        """Return the number, ``None`` when it cannot be known. Never waits for a writer."""
        if self._path is None:
            return None
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._connection is None:
                self._connection = sqlite3.connect(
                    self._path, timeout=0, check_same_thread=False, isolation_level=None
                )
            (number,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(number)
        return None

    def close(self) -> None:
        """Close the connection that the question takes."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
