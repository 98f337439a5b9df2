"""Orthanc as the real peer of tests."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.peers import Peer
from dicom_node.web_peers import WebPeer
from imaging.identity import ae_title
from tests.dicom_node.rig import OURS, free_port, listens, wait_for

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture
def our_port() -> int:
    """Where the PACS sends what we ask for."""
    return free_port()


@pytest.fixture
def orthanc(orthanc_process: tuple[Peer, int]) -> Peer:
    """Orthanc as the PACS, on loopback and empty."""
    return orthanc_process[0]


@pytest.fixture
def orthanc_http() -> int:
    """Port of Orthanc's REST interface."""
    return free_port()


@pytest.fixture
def orthanc_web(orthanc: Peer, orthanc_http: int) -> WebPeer:
    """The same Orthanc as a DICOMweb service."""
    if not PLUGIN.exists():
        pytest.skip("Orthanc's DICOMweb plugin is not installed")
    wait_for(lambda: listens(orthanc_http), seconds=20)
    return WebPeer(name="web", url=f"http://127.0.0.1:{orthanc_http}/dicom-web", deliver=True)


@pytest.fixture
def orthanc_process(tmp_path: Path, our_port: int, orthanc_http: int) -> Iterator[tuple[Peer, int]]:
    """The same, and the id of its process."""
    if shutil.which("Orthanc") is None:
        pytest.skip("Orthanc is not installed")
    port = free_port()
    folder = tmp_path / "orthanc"
    folder.mkdir()
    settings = {
        "DicomAet": "PACS",
        "DicomPort": port,
        "HttpPort": orthanc_http,
        "RemoteAccessAllowed": False,
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomAlwaysAllowFind": True,
        "DefaultEncoding": "Utf8",
        "DicomModalities": {"wetread": [OURS, "127.0.0.1", our_port]},
        "Plugins": [str(path) for path in [PLUGIN] if path.exists()],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
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
    yield peer, process.pid
    process.terminate()
    process.wait(timeout=10)
