"""The web over HTTPS, to real clients."""

import hashlib
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from imaging.errors import SetupError
from serving import web
from serving.health import answers, is_ours
from serving.settings import load
from tests.dicom_node.certificates import Authority, Pair
from tests.dicom_node.rig import free_port, wait_for
from tests.serving.bench import Bench


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture
def used(authority: Authority, tmp_path: Path) -> Pair:
    """The files that the settings name."""
    pair = Pair(certificate=tmp_path / "web.pem", key=tmp_path / "web.key")
    put(authority.sign("first"), pair)
    return pair


@pytest.fixture
def port(used: Pair, tmp_path: Path) -> Iterator[int]:
    where = {"port": free_port(), "certificate": str(used.certificate), "key": str(used.key)}
    bench, stop = Bench(tmp_path / "site", web=where), threading.Event()
    thread = threading.Thread(target=web.run, args=(bench.settings, stop))
    thread.start()
    wait_for(lambda: answers("127.0.0.1", where["port"]))
    yield where["port"]
    stop.set()
    thread.join(15)
    assert not thread.is_alive()


def put(pair: Pair, where: Pair) -> None:
    shutil.copy(pair.key, where.key)
    shutil.copy(pair.certificate, where.certificate)


def shown(port: int) -> str:
    """Return the fingerprint of the certificate that a new connection is shown."""
    encoded = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
    return hashlib.sha256(encoded).digest().hex(":").upper()


def test_pages_come_over_https_only(port: int, authority: Authority):
    trusted = ssl.create_default_context(cafile=str(authority.file))
    for path in ("/", "/dicomweb/studies", "/healthz"):
        answer = httpx.get(f"https://127.0.0.1:{port}{path}", verify=trusted)
        assert answer.status_code in {200, 204}
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")
    assert is_ours("127.0.0.1", port, https=True)
    assert not is_ours("127.0.0.1", port, https=False)


def test_a_new_certificate_counts_without_a_restart(port: int, authority: Authority, used: Pair):
    second = authority.sign("second")
    assert shown(port) != second.fingerprint
    put(second, used)
    assert shown(port) == second.fingerprint
    used.key.write_text("nonsense")
    assert shown(port) == second.fingerprint  # until the files fit each other again


def test_files_that_cannot_be_used_are_said_at_the_start(used: Pair, tmp_path: Path):
    used.key.write_text("nonsense")
    where = {"port": free_port(), "certificate": str(used.certificate), "key": str(used.key)}
    bench = Bench(tmp_path / "site", web=where)
    with pytest.raises(SetupError, match="TLS"):
        web.run(bench.settings, threading.Event())


def test_a_certificate_needs_its_key(tmp_path: Path):
    (tmp_path / "wetread.toml").write_text('[web]\ncertificate = "web.pem"\n')
    with pytest.raises(SetupError, match="go together"):
        load(tmp_path / "wetread.toml", {})
