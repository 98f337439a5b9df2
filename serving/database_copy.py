"""Consistent copies of both databases of a running installation, and putting them back.

The work engine records what the index already holds, so both copies must be of one moment: with
SQLite the writers of the index are held up for that moment (not while copying), on PostgreSQL both
are one database and one snapshot.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from dicom_node import schema
from imaging.errors import SetupError
from serving.settings import Settings
from serving.slots import RETENTION_SLOT, open_slots

_INDEX, _WORK, _DUMP = "wetread.sqlite", "engine.sqlite", "postgresql.dump"
_BUSY_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A file of the archive that the index names; `sha256`, if known, is of its data set."""

    path: str
    sha256: str


@contextmanager
def copied(settings: Settings, folder: Path) -> Iterator[tuple[Filed, ...]]:
    """Copy the databases into `folder`; give the files that the copy of the index names.

    Raises
    ------
    SetupError
        The databases cannot be copied together, or what copies PostgreSQL is not installed.
    """
    copy = _copied_sqlite if _is_sqlite(settings) else _dumped
    with _nothing_removed(settings), copy(settings, folder) as db:
        yield _filed(db)


def put_back(settings: Settings, folder: Path) -> None:
    """Put copies from `folder` where the settings say that the databases are.

    Raises
    ------
    SetupError
        The copies are of another kind of database, or there is something in the way.
    """
    if _is_sqlite(settings) == (folder / _DUMP).exists():
        msg = "the backup is of another kind of database than the settings name"
        raise SetupError(msg)
    if not _is_sqlite(settings):
        _restore(settings, folder / _DUMP)
        return
    for name, url in ((_INDEX, settings.index_url), (_WORK, settings.work_url)):
        target = _file(url)
        if target.exists():
            msg = f"{target} is there already"
            raise SetupError(msg)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(target)
        shutil.copyfile(folder / name, target)


def _is_sqlite(settings: Settings) -> bool:
    urls = settings.index_url, settings.work_url
    are_files = [url.startswith("sqlite") for url in urls]
    if any(are_files) != all(are_files) or (not any(are_files) and urls[0] != urls[1]):
        msg = "only two SQLite files, or one PostgreSQL database for both, can be backed up"
        raise SetupError(msg)
    return all(are_files)


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _make_private(file: Path) -> None:
    os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))


def _filed(db: sa.Connection) -> tuple[Filed, ...]:
    stored, aside = schema.instances.c, schema.set_aside.c
    kept = db.execute(sa.select(stored.path, stored.sha256).order_by(stored.received_at))
    found = dict(kept.tuples().all())
    for (path,) in db.execute(sa.select(aside.path).where(aside.path.is_not(None))):
        found.setdefault(path, "")
    return tuple(Filed(path=path, sha256=sha256) for path, sha256 in found.items())


@contextmanager
def _nothing_removed(settings: Settings) -> Iterator[None]:
    """Keep studies from being removed while they are copied; wait for a removal that is on."""
    slots = open_slots(settings.work_url, settings.slots_folder)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(slots.taken(RETENTION_SLOT))
                break
            except SetupError:
                continue
            except SQLAlchemyError as error:
                msg = f"the work engine's database does not answer: {type(error).__name__}"
                raise SetupError(msg) from error
        yield


@contextmanager
def _copied_sqlite(settings: Settings, folder: Path) -> Iterator[sa.Connection]:
    _copy_sqlite(settings, folder)
    engine = schema.connect(f"sqlite:///{folder / _INDEX}")
    with _disposed(engine), engine.connect() as db:
        yield db


def _copy_sqlite(settings: Settings, folder: Path) -> None:
    index, work = _file(settings.index_url), _file(settings.work_url)
    with ExitStack() as stack:
        lock, *sources = (
            stack.enter_context(closing(sqlite3.connect(file, _BUSY_S, isolation_level=None)))
            for file in (index, index, work)
        )
        lock.execute("BEGIN IMMEDIATE")
        for source in sources:  # a read holds on to what it sees, whatever is written after
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        lock.execute("ROLLBACK")
        for source, name in zip(sources, (_INDEX, _WORK), strict=True):
            _make_private(folder / name)
            with closing(sqlite3.connect(folder / name)) as copy:
                source.backup(copy)


@contextmanager
def _dumped(settings: Settings, folder: Path) -> Iterator[sa.Connection]:
    engine, file = schema.connect(settings.index_url), folder / _DUMP
    with _disposed(engine), engine.connect() as db:
        db.execution_options(isolation_level="REPEATABLE READ")
        snapshot = db.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one()
        _make_private(file)
        words = ["--format=custom", "--no-owner", f"--snapshot={snapshot}", f"--file={file}"]
        _run("pg_dump", settings.index_url, *words)
        yield db


@contextmanager
def _disposed(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()


def _restore(settings: Settings, file: Path) -> None:
    engine = schema.connect(settings.index_url)
    with _disposed(engine):
        if sa.inspect(engine).has_table(schema.studies.name):
            msg = "the database is not empty: restore into a new one"
            raise SetupError(msg)
    words = ["--no-owner", "--exit-on-error", "--single-transaction", str(file)]
    _run("pg_restore", settings.index_url, *words)


def _run(program: str, url: str, *words: str) -> None:
    """Run a client of PostgreSQL; the password must not be among its arguments."""
    found, whole = shutil.which(program), sa.make_url(url)
    if found is None:
        msg = f"{program} is not installed; it is in the package postgresql-client"
        raise SetupError(msg)
    bare = sa.URL.create(
        "postgresql",
        username=whole.username,
        host=whole.host,
        port=whole.port,
        database=whole.database,
        query=whole.query,
    )
    secret = {"PGPASSWORD": str(whole.password)} if whole.password else {}
    done = subprocess.run(  # noqa: S603 - words are ours
        [found, f"--dbname={bare.render_as_string()}", *words],
        env={**os.environ, **secret},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"{program} fails: {done.stderr.strip()}"
        raise SetupError(msg)
