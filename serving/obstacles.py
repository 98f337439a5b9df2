"""Errors that are nobody's fault and pass: no space, a database that is away or cannot be written.

Work that meets one waits and goes on; it is never given up for it.
"""

import errno
import sqlite3

from sqlalchemy.exc import OperationalError

from imaging.errors import StorageFull

_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_SQLITE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)
_PRIMARY = 0xFF  # the primary code is the low byte of an extended one


def is_obstacle(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, passes by itself."""
    cause: BaseException | None = error
    while cause is not None:
        if _is_one(cause):
            return True
        cause = cause.__cause__
    return False


def _is_one(error: BaseException) -> bool:
    match error:
        case StorageFull():
            return True
        case OSError():
            return error.errno in _ERRNOS
        case sqlite3.OperationalError():
            return error.sqlite_errorcode & _PRIMARY in _SQLITE
        case OperationalError():  # of PostgreSQL: it is away, starting, or out of resources
            return not isinstance(error.orig, sqlite3.Error)
        case _:
            return False
