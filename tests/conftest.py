"""Where the shared test data lie, and a clear word when they are absent."""

import os
from pathlib import Path

import pytest

from tests.postgresql import postgresql_server, postgresql_url

__all__ = ["postgresql_server", "postgresql_url"]
_DEFAULT = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder named by WETREAD_TEST_DATA."""
    folder = Path(os.environ.get("WETREAD_TEST_DATA", _DEFAULT))
    if not folder.is_dir():
        pytest.skip(f"test data are not at {folder}; set WETREAD_TEST_DATA")
    return folder
