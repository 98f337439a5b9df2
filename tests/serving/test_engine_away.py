"""The work engine's client while PostgreSQL is away."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from imaging.errors import NotFound
from scripts.postgres import Postgres, is_installed
from serving.engine import Client


@pytest.fixture
def server() -> Iterator[Postgres]:
    if not is_installed():
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = Postgres(Path(folder) / "postgresql", "fsync=off", "shared_buffers=16MB")
        yield made
        made.stop()


@pytest.mark.timeout(60)
def test_a_call_fails_at_once_while_the_server_is_away_and_works_after(server: Postgres):
    client = Client(server.url())
    server.kill()
    for _ in range(8):  # the engine itself would wait longer each time, minutes in all
        with pytest.raises(OperationalError):
            client.find("nothing")
    server.start()
    with pytest.raises(NotFound):
        client.find("nothing")
    client._client.destroy()
