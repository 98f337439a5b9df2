"""The process that tells is killed after the receiver got a message and before it has answered."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typing_extensions import override

from serving.notify.target import Target
from tests.dicom_node.rig import wait_for
from tests.serving.bench import Bench, mr
from tests.serving.fhir_peer import FhirServer
from tests.serving.receivers import Web, serving
from tests.serving.test_notify import SECRET
from tests.serving.test_notify_hl7 import ris

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120


class Held:
    """Holds the first answer back until `free` is set."""

    def __init__(self) -> None:
        self.reached, self.free = threading.Event(), threading.Event()

    def hold(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            self.free.wait(PATIENCE_S)


class Slow(Web):
    """A receiver over HTTP that has done `work` before it answers, the first time late."""

    def __init__(self, held: Held, work: Callable[[bytes], tuple[int, bytes]]) -> None:
        super().__init__(200, {})
        self._held, self._work = held, work

    @override
    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        done = self._work(body)
        self._held.hold()
        return done


@dataclass(frozen=True)
class Receiver:
    """Where it is, as settings say it, and the messages that it has got."""

    settings: str
    got: Callable[[], list[object]]


@contextmanager
def hook(held: Held, _server: FhirServer) -> Iterator[Receiver]:
    with serving(Slow(held, lambda _: (204, b""))) as web:
        yield Receiver(
            f'kind = "webhook"\nurl = "{web.url}"\nsecret = "{SECRET}"',
            lambda: [(headers["webhook-id"], body) for headers, body in web.got],
        )


@contextmanager
def clinic(held: Held, server: FhirServer) -> Iterator[Receiver]:
    def work(body: bytes) -> tuple[int, bytes]:
        answer = server.post(body)
        return answer.status_code, answer.content

    with serving(Slow(held, work)) as web:
        yield Receiver(
            f'kind = "fhir"\nurl = "{web.url}"\npatient_system = "urn:oid:1.2"',
            lambda: [body for _, body in web.got],
        )


@contextmanager
def hospital(held: Held, _server: FhirServer) -> Iterator[Receiver]:
    with ris("AA", before=held.hold) as running:
        yield Receiver(
            f'kind = "hl7"\nhost = "127.0.0.1"\nport = {running.port}',
            lambda: list(map(str, running.got)),
        )


@pytest.fixture(scope="module")
def analysed_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("analysed")
    target = Target(name="them", kind="hl7", host="127.0.0.1", port=1)
    bench = Bench(folder, notify=(target,))
    bench.install()
    bench.analysed(mr())
    bench.parts.index.engine.dispose()
    return folder


@contextmanager
def teller(settings: Path) -> Iterator[subprocess.Popen]:
    """A process that tells; in the end it is killed."""
    command = [sys.executable, "-m", "tests.serving.teller_process", str(settings)]
    with settings.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)


@pytest.mark.parametrize("made", [hook, hospital, clinic])
def test_who_is_killed_before_the_answer_is_followed_by_the_same_message(
    analysed, tmp_path: Path, fhir_server: FhirServer, made
):
    held, messages = Held(), analysed().parts.messages
    with made(held, fhir_server) as receiver:
        settings = tmp_path / "wetread.toml"
        entry = f'data_folder = "data"\n[[notify]]\nname = "them"\n{receiver.settings}\n'
        settings.write_text(entry)
        with teller(settings):
            assert held.reached.wait(PATIENCE_S)
        held.free.set()
        assert messages.listed()[0].state == "waiting"
        with teller(settings):
            wait_for(lambda: messages.listed()[0].state == "delivered", seconds=PATIENCE_S)
        first, second = receiver.got()
        assert first == second
        assert messages.due("them") is None
    if made is clinic:
        assert set(fhir_server.counts().values()) == {1}
