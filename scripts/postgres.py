"""A PostgreSQL server of our own on loopback, which may be killed and started again."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from imaging.errors import SetupError
from scripts.child_process import children_of
from scripts.loopback import HOST, free_port

_VERSIONS = Path("/usr/lib/postgresql")
_START_LIMIT_S = 60.0
_USER = "wetread"


class Postgres:
    """A server in `folder`, which the server's own user must be able to reach."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._files = folder, folder / "files"
        self._binaries, self._prefix = _binaries(), _as_postgres()
        self._options = [word for option in options for word in ("-c", option)]
        self.port = free_port(0)
        folder.mkdir(parents=True, exist_ok=True)
        if self._prefix:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(self._files), "-U", _USER, "-N", "--auth=trust")
        self.start()

    def start(self) -> None:
        """Start it and return when it answers."""
        listen = [f"listen_addresses={HOST}", f"unix_socket_directories={self._folder}"]
        words = [word for option in listen for word in ("-c", option)]
        server = [str(self._binaries / "postgres"), "-D", str(self._files), "-p", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._prefix, *server, *words, *self._options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_LIMIT_S
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                msg = f"PostgreSQL does not start; see {self._folder / 'log'}"
                raise SetupError(msg)
            time.sleep(0.1)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://{_USER}@{HOST}:{self.port}/{database}"

    def new_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with self._engine().connect() as db:
            db.execute(sa.text(f"CREATE DATABASE {name}"))
        return self.url(name)

    def kill(self) -> None:
        """Send SIGKILL to the server and to every process that serves a connection."""
        postmaster = self._postmaster()
        everyone = [postmaster, *children_of(postmaster)]
        for pid in everyone:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        while any(Path(f"/proc/{pid}/exe").exists() for pid in everyone):
            time.sleep(0.02)

    def stop(self) -> None:
        """End it without waiting for those who are still connected."""
        if self._process.poll() is None:
            os.kill(self._postmaster(), signal.SIGINT)
            self._process.wait()

    def _postmaster(self) -> int:
        return int((self._files / "postmaster.pid").read_text().split()[0])

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._prefix, str(self._binaries / program), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, cwd=self._folder)
        if done.returncode:
            msg = f"{program} fails: {done.stderr.decode(errors='replace')}"
            raise SetupError(msg)

    def _engine(self) -> sa.Engine:
        url = sa.make_url(self.url()).set(drivername="postgresql+psycopg")
        return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def _answers(self) -> bool:
        with suppress(sa.exc.OperationalError):
            self._engine().connect().close()
            return True
        return False


def is_installed() -> bool:
    """Whether a server can be run here."""
    return any(_VERSIONS.glob("*/bin/postgres")) and bool(os.geteuid() or shutil.which("runuser"))


def _binaries() -> Path:
    if not is_installed():
        msg = "PostgreSQL is not installed"
        raise SetupError(msg)
    return max(_VERSIONS.glob("*/bin"), key=lambda path: int(path.parent.name))


def _as_postgres() -> Sequence[str]:
    """Return what runs a command as the server's user: as root it refuses to run."""
    return () if os.geteuid() else ("runuser", "-u", "postgres", "--")
