import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from imaging.errors import InputError, NotFound, SetupError, StorageFull
from serving.obstacles import is_obstacle


def full() -> Exception:
    """What SQLite raises when its file may not grow."""
    engine = create_engine("sqlite://")
    with engine.connect() as db:
        db.execute(text("CREATE TABLE t (x)"))
        db.execute(text("PRAGMA max_page_count = 2"))
        with pytest.raises(OperationalError) as raised:
            db.execute(text("INSERT INTO t VALUES (zeroblob(100000))"))
    engine.dispose()
    return raised.value


def misspelt() -> Exception:
    engine = create_engine("sqlite://")
    with engine.connect() as db, pytest.raises(OperationalError) as raised:
        db.execute(text("SELECT * FROM nothing"))
    engine.dispose()
    return raised.value


def away() -> Exception:
    engine = create_engine("postgresql+psycopg://127.0.0.1:1/none")
    with pytest.raises(OperationalError) as raised:
        engine.connect()
    return raised.value


def wrapped() -> Exception:
    error = SetupError()
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize("make", [full, away, wrapped, StorageFull])
def test_what_passes_by_itself_is_an_obstacle(make):
    assert is_obstacle(make())


def test_other_errors_are_not():
    for error in (misspelt(), NotFound(), InputError(), KeyError("x"), sqlite3.DataError()):
        assert not is_obstacle(error)
    with pytest.raises(FileNotFoundError) as raised:
        Path("/nowhere").read_bytes()
    assert not is_obstacle(raised.value)
