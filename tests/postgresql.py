"""A PostgreSQL server for tests, on loopback, and a new database in it for each test."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node import schema
from scripts.postgres import Postgres, is_installed


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgres]:
    """A running server."""
    if not is_installed():
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "postgresql", "fsync=off", "shared_buffers=16MB")
        yield server
        server.stop()


@pytest.fixture
def postgresql_url(postgresql_server: Postgres) -> str:
    """The URL of a new, empty database."""
    return postgresql_server.new_database(f"test{time.monotonic_ns()}")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """Our tables in a new database of either kind."""
    on_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/one.db" if on_file else request.getfixturevalue("postgresql_url")
    engine = schema.connect(url)
    schema.upgrade(engine)
    yield engine
    engine.dispose()
