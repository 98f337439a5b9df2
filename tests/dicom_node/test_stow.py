"""Storing over the web: a real service, and services that fail in every way."""

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dicom_node.scu import Timeouts
from dicom_node.stow import listed, probe, send
from dicom_node.web_peers import WebPeer
from imaging.findings import ObjectRef
from tests.dicom_node.rig import free_port, image, save

SOON = Timeouts(connect_s=2, reply_s=5)


@dataclass(kw_only=True)
class Service:
    """Answers everything as told, and notes what it was asked."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    drip: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    port: int = 0

    @property
    def peer(self) -> WebPeer:
        return WebPeer(name="web", url=f"http://127.0.0.1:{self.port}/dicom-web")


@contextmanager
def serving(service: Service, context: ssl.SSLContext | None = None) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(service.body).encode() if service.body is not None else b""
            service.asked.append((self.path, self.headers.get("Authorization", "")))
            service.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            time.sleep(service.pause_s)
            self.send_response(service.status)
            for name, value in service.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + service.drip * 1000))
            self.end_headers()
            self.wfile.write(body)
            while service.drip:
                self.wfile.write(b" ")
                time.sleep(0.1)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    service.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield service
    server.shutdown()
    server.server_close()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return save(tmp_path / "out", image(1), image(2))


def ref(number: int) -> ObjectRef:
    ds = image(number)
    return ObjectRef(
        sop_class_uid=ds.SOPClassUID,
        instance_uid=ds.SOPInstanceUID,
        series_uid=ds.SeriesInstanceUID,
        study_uid=ds.StudyInstanceUID,
    )


UIDS = [ref(number).instance_uid for number in (1, 2)]


def told(*, failed: dict[str, int] | None = None, stored: dict[str, int] | None = None) -> Any:
    """Return a Store Instances Response Module; a warning reason of 0 is none."""

    def item(uid: str, tag: str, reason: int) -> dict[str, Any]:
        named = {"00081155": {"vr": "UI", "Value": [uid]}}
        return named | ({tag: {"vr": "US", "Value": [reason]}} if reason else {})

    found: dict[str, Any] = {}
    if failed:
        items = [item(uid, "00081197", reason) for uid, reason in failed.items()]
        found["00081198"] = {"vr": "SQ", "Value": items}
    if stored:
        items = [item(uid, "00081196", reason) for uid, reason in stored.items()]
        found["00081199"] = {"vr": "SQ", "Value": items}
    return found


def test_a_real_service_takes_what_is_sent_and_proves_it(orthanc_web: WebPeer, files):
    assert probe(orthanc_web, timeouts=SOON) is None
    assert listed(orthanc_web, [ref(1)], timeouts=SOON) == frozenset()
    outcome = send(orthanc_web, files, timeouts=SOON)
    assert (outcome.text, outcome.stored) == ("", frozenset(UIDS))
    assert listed(orthanc_web, [ref(1), ref(2), ref(3)], timeouts=SOON) == set(UIDS)
    assert send(orthanc_web, files, timeouts=SOON).stored == frozenset(UIDS)


def test_a_real_service_refuses_what_is_no_dicom(orthanc_web: WebPeer, files):
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:400])
    outcome = send(orthanc_web, files, timeouts=SOON)
    assert outcome.refused == {UIDS[0]}
    assert outcome.stored == {UIDS[1]}
    assert "HTTP 400" in outcome.words(UIDS[0])


@pytest.mark.parametrize(
    ("status", "body", "stored", "refused"),
    [
        (200, None, True, False),
        (200, told(stored={UIDS[0]: 0}), True, False),
        (200, told(stored={UIDS[0]: 0xB000}), True, False),
        (202, told(stored={UIDS[0]: 0xB007}), True, False),
        (202, None, False, False),
        (200, told(stored={"1.2": 0}), False, False),
        (200, told(failed={UIDS[0]: 0xA700}), False, False),
        (409, told(failed={UIDS[0]: 0xA700}), False, False),
        (409, told(failed={UIDS[0]: 0x0110}), False, False),
        (409, told(failed={UIDS[0]: 0x0111}), True, False),
        (409, told(failed={UIDS[0]: 0x0122}), False, True),
        (409, told(failed={UIDS[0]: 0xA900}), False, True),
        (409, told(failed={UIDS[0]: 0xC122}), False, True),
        (409, told(failed={UIDS[0]: 0}), False, False),
        (409, None, False, False),
        (409, "words", False, False),
        (400, None, False, True),
        (413, None, False, True),
        (415, None, False, True),
    ],
)
def test_what_is_said_of_an_instance(files, status, body, stored, refused):
    with serving(Service(status=status, body=body)) as service:
        outcome = send(service.peer, files[:1], timeouts=SOON)
    assert (UIDS[0] in outcome.stored, UIDS[0] in outcome.refused) == (stored, refused)
    assert bool(outcome.text) is not stored


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "HTTP 301"),
        (401, "the credentials are not accepted"),
        (403, "we may not store there"),
        (404, "no STOW-RS"),
        (429, "too many requests, try again after 7"),
        (500, "HTTP 500"),
        (503, "not available now, try again after 7"),
    ],
)
def test_what_is_said_of_us_or_the_service_is_passing_and_asked_once(files, status, words):
    with serving(Service(status=status, headers={"Retry-After": "7"})) as service:
        outcome = send(service.peer, files, timeouts=SOON)
        assert len(service.asked) == 1
    assert (outcome.stored, outcome.refused, outcome.statuses) == (set(), set(), {})
    assert words in outcome.text


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_probe_tells_that_nothing_would_be_taken(status):
    with serving(Service(status=status)) as service:
        assert f"HTTP {status}" in str(probe(service.peer, timeouts=SOON))


@pytest.mark.parametrize("status", [200, 204, 400, 404, 405])
def test_a_service_without_queries_answers_all_the_same(status):
    with serving(Service(status=status)) as service:
        assert probe(service.peer, timeouts=SOON) is None


def test_one_that_hangs_or_answers_byte_by_byte_is_left_in_time(files):
    quick = Timeouts(connect_s=0.5, reply_s=0.5)
    for service in (Service(pause_s=3), Service(drip=True)):
        with serving(service):
            outcome = send(service.peer, files, timeouts=quick)
            assert outcome.statuses == {}
            assert "in time" in outcome.text or "whole answer" in outcome.text


def test_an_answer_without_end_is_not_kept(files, monkeypatch):
    monkeypatch.setattr("dicom_node.web_client._LONGEST_ANSWER", 10)
    with serving(Service(body=["x" * 100])) as service:
        assert "longer than" in send(service.peer, files, timeouts=SOON).text


@pytest.mark.parametrize(
    "body", ["nonsense", [1, 2], {"00080018": 7}, [{"00080018": {"vr": "UI"}}]]
)
def test_a_query_answered_with_nonsense_proves_nothing(body):
    with serving(Service(body=body)) as service:
        assert listed(service.peer, [ref(1)], timeouts=SOON) == frozenset()


def test_one_that_is_not_there_is_a_reason_to_try_again(files):
    for host in (f"127.0.0.1:{free_port()}", "no-such-host.invalid"):
        peer = WebPeer(name="web", url=f"http://{host}/dicom-web")
        outcome = send(peer, files, timeouts=SOON)
        assert (outcome.statuses, outcome.refused) == ({}, frozenset())
        assert "cannot be reached" in outcome.text
        assert "cannot be reached" in str(probe(peer, timeouts=SOON))
        assert listed(peer, [ref(1)], timeouts=SOON) == frozenset()


def test_the_files_go_as_they_are(files):
    with serving(Service()) as service:
        send(service.peer, files, timeouts=SOON)
    for path, body in zip(files, service.bodies, strict=True):
        assert path.read_bytes() in body


def test_credentials_are_read_afresh_and_shown_nowhere(files, tmp_path: Path):
    secret = tmp_path / "secret"
    with serving(Service()) as service:
        peer = replace(service.peer, secret_file=secret, headers={"X-Site": "1"})
        assert "cannot be read" in send(peer, files[:1], timeouts=SOON).text
        secret.write_text("first\n")
        send(peer, files[:1], timeouts=SOON)
        secret.write_text("second\n")
        send(replace(peer, user="reader"), files[:1], timeouts=SOON)
    assert [given for _, given in service.asked] == ["Bearer first", "Basic cmVhZGVyOnNlY29uZA=="]
    assert "word" not in repr(WebPeer(name="x", url="https://x", secret="word"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    made = tmp_path_factory.mktemp("tls") / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=pacs", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = made.with_suffix(".key")
    subprocess.run(
        [*command, *names, "-keyout", key, "-out", made], check=True, capture_output=True
    )
    made.write_text(made.read_text() + key.read_text())
    return made


def test_a_server_must_prove_who_it_is(files, certificate: Path, tmp_path: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(Service(), context) as service:
        stranger = replace(service.peer, url=service.peer.url.replace("http:", "https:"))
        assert "certificate" in send(stranger, files, timeouts=SOON).text
        known = replace(stranger, ca_file=certificate)
        assert send(known, files, timeouts=SOON).stored == set(UIDS)
        misnamed = replace(known, url=known.url.replace("127.0.0.1", "localhost"))
        assert "certificate" in send(misnamed, files, timeouts=SOON).text
        missing = replace(known, ca_file=tmp_path / "missing.pem")
        assert "cannot be reached" in send(missing, files, timeouts=SOON).text


def test_one_that_fails_half_way_keeps_what_it_took(files):
    answers: list[Callable[[Service], None]] = [
        lambda s: setattr(s, "status", 503),
    ]
    with serving(Service()) as service:
        service.asked = _Falling(service, answers)
        outcome = send(service.peer, files, timeouts=SOON)
    assert outcome.stored == {UIDS[0]}
    assert outcome.refused == frozenset()
    assert "not available" in outcome.words(UIDS[1])


class _Falling(list):
    """Changes the service before its second answer."""

    def __init__(self, service: Service, changes: list[Callable[[Service], None]]) -> None:
        super().__init__()
        self._service, self._changes = service, changes

    def append(self, asked: tuple[str, str]) -> None:
        super().append(asked)
        if len(self) == 2:
            self._changes.pop()(self._service)
