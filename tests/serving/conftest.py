"""A fresh installation for each test, with and without a model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.orthanc_peer import orthanc, orthanc_http, orthanc_process, orthanc_web, our_port
from tests.serving.bench import Bench, mr, peer
from tests.serving.fhir_peer import fhir_process, fhir_server

__all__ = [
    "fhir_process",
    "fhir_server",
    "orthanc",
    "orthanc_http",
    "orthanc_process",
    "orthanc_web",
    "our_port",
]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Bench]:
    """Return what makes an installation with given settings."""

    def made(**settings: Any) -> Bench:
        return Bench(tmp_path, **settings)

    return made


@pytest.fixture
def empty(make: Callable[..., Bench]) -> Bench:
    """An installation without a model."""
    return make()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    """An installation with one model, which outlines what is bright in MR."""
    made = make()
    made.install()
    return made


@pytest.fixture(scope="session")
def analysed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation whose one study has results for the peer `pacs`."""
    folder = tmp_path_factory.mktemp("analysed")
    bench = Bench(folder, peers=(peer(),))
    bench.install()
    bench.analysed(mr())
    bench.parts.index.engine.dispose()
    return folder


@pytest.fixture
def analysed(analysed_once: Path, tmp_path: Path) -> Callable[..., Bench]:
    """Return what makes a copy of that installation with other settings."""

    def made(**settings: Any) -> Bench:
        shutil.copytree(analysed_once / "data", tmp_path / "data")
        return Bench(tmp_path, **settings)

    return made
