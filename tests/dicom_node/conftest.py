"""An index, an archive and a running node in a fresh folder."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pynetdicom import _config
from sqlalchemy import Engine

from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.scp import Listening, Node
from imaging.identity import ae_title
from tests.dicom_node.rig import OURS, Running, free_port, listens, wait_for

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

    def started(policy: AssociationPolicy | None = None, *, port: int = 0) -> Running:
        released: list[frozenset[str]] = []
        node = Node(
            ingest,
            policy or AssociationPolicy(ae_title=OURS),
            released.append,
            listening=Listening(host="127.0.0.1", port=port),
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


@pytest.fixture
def our_port() -> int:
    """Where the PACS sends what we ask for."""
    return free_port()


@pytest.fixture
def orthanc(tmp_path: Path, our_port: int) -> Iterator[Peer]:
    """Orthanc as the PACS, on loopback and empty."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    port = free_port()
    folder = tmp_path / "orthanc"
    folder.mkdir()
    settings = {
        "DicomAet": "PACS",
        "DicomPort": port,
        "HttpServerEnabled": False,
        "RemoteAccessAllowed": False,
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomAlwaysAllowFind": True,
        "DicomModalities": {"wetread": [OURS, "127.0.0.1", our_port]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")],
        env={**os.environ, "TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peer = Peer(name="pacs", ae_title=ae_title("PACS"), host="127.0.0.1", port=port, query=True)
    wait_for(lambda: listens(port), seconds=20)
    yield peer
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(autouse=True)
def stored_settings() -> Iterator[None]:
    """Leave pynetdicom's settings for the whole process as they were."""
    before = _config.LOG_HANDLER_LEVEL, _config.STORE_SEND_CHUNKED_DATASET
    yield
    _config.LOG_HANDLER_LEVEL, _config.STORE_SEND_CHUNKED_DATASET = before
