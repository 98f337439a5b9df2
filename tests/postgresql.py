"""A PostgreSQL server for tests, on loopback, and a new database in it for each test."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.dicom_node.rig import free_port, wait_for

_VERSIONS = Path("/usr/lib/postgresql")
_NO_SYNC = ("-c", "fsync=off", "-c", "shared_buffers=16MB")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[sa.URL]:
    """The URL of a running server's first database."""
    binaries = sorted(_VERSIONS.glob("*/bin"))
    as_root = os.geteuid() == 0
    if not binaries or (as_root and shutil.which("runuser") is None):
        pytest.skip("PostgreSQL is not installed")
    prefix = ["runuser", "-u", "postgres", "--"] if as_root else []
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if as_root:
            shutil.chown(folder, "postgres")
        files = f"{folder}/db"
        initdb = [*prefix, str(binaries[-1] / "initdb"), "-D", files, "-U", "wetread", "-N"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        listen = ("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}")
        postgres = [str(binaries[-1] / "postgres"), "-D", files, "-p", str(port)]
        server = subprocess.Popen(
            [*prefix, *postgres, *listen, *_NO_SYNC], stderr=subprocess.DEVNULL, cwd=folder
        )
        url = sa.make_url(f"postgresql+psycopg://wetread@127.0.0.1:{port}/postgres")
        wait_for(lambda: _answers(url), seconds=30)
        yield url.set(drivername="postgresql")
        pid = int(Path(files, "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGINT)  # without waiting for those who are still connected
        server.wait(timeout=20)


@pytest.fixture
def postgresql_url(postgresql_server: sa.URL) -> str:
    """The URL of a new, empty database."""
    name = f"test{time.monotonic_ns()}"
    driver = postgresql_server.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(driver, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as db:
        db.execute(sa.text(f"CREATE DATABASE {name}"))
    return postgresql_server.set(database=name).render_as_string(hide_password=False)


def _answers(url: sa.URL) -> bool:
    try:
        sa.create_engine(url, poolclass=sa.NullPool).connect().close()
    except sa.exc.OperationalError:
        return False
    return True
