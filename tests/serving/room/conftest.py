"""Pages on an installation with an analysed study."""

from collections.abc import Callable

import pytest

from tests.serving.bench import Bench, peer
from tests.serving.test_api import Web, close, study_of

__all__ = ["pages"]


@pytest.fixture
def pages(analysed: Callable[..., Bench]) -> Web:
    bench = analysed(peers=(peer(),))
    close(bench, study_of(bench))
    return Web(bench)
