"""An index, an archive and a running node in a fresh folder."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import _config
from sqlalchemy import Engine

from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.peers import AssociationPolicy
from dicom_node.scp import Listening, Node
from tests.dicom_node.rig import OURS, Running
from tests.orthanc_peer import orthanc, orthanc_http, orthanc_process, orthanc_web, our_port

__all__ = ["orthanc", "orthanc_http", "orthanc_process", "orthanc_web", "our_port"]

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def data() -> Path:
    folder = Path(os.environ.get("WETREAD_TEST_DATA", _ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no test data: set WETREAD_TEST_DATA")
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = schema.connect(f"sqlite:///{tmp_path}/index.db")
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def index(engine: Engine) -> Index:
    return Index(engine)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "instances", reserve_bytes=0)


@pytest.fixture
def ingest(archive: Archive, index: Index) -> Ingest:
    return Ingest(archive, index, time.time)


@pytest.fixture
def start(ingest: Ingest, index: Index, archive: Archive) -> Iterator[Callable[..., Running]]:
    nodes: list[Node] = []

    def started(
        policy: AssociationPolicy | None = None, *, port: int = 0, **listening: Any
    ) -> Running:
        released: list[frozenset[str]] = []
        node = Node(
            ingest,
            policy or AssociationPolicy(ae_title=OURS),
            released.append,
            listening=Listening(host="127.0.0.1", port=port, **listening),
        )
        node.start()
        nodes.append(node)
        return Running(node=node, ingest=ingest, index=index, archive=archive, released=released)

    yield started
    for node in nodes:
        node.stop(grace_s=0.5)


@pytest.fixture
def running(start: Callable[..., Running]) -> Running:
    return start()


@pytest.fixture(autouse=True)
def stored_settings() -> Iterator[None]:
    """Leave pynetdicom's settings for the whole process as they were."""
    before = _config.LOG_HANDLER_LEVEL, _config.STORE_SEND_CHUNKED_DATASET
    yield
    _config.LOG_HANDLER_LEVEL, _config.STORE_SEND_CHUNKED_DATASET = before
