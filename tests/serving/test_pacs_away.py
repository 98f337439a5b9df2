"""Destinations that fail in every way, beside one that works; the next attempt is an hour away."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification

from dicom_node.peers import Peer
from imaging.identity import AETitle
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver
from serving.records import Delivery
from serving.settings import load
from tests.dicom_node.rig import free_port, wait_for
from tests.serving.bench import Bench, mr
from tests.serving.test_operations import complete

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
soon = partial(wait_for, seconds=120)
_HEAD = """
data_folder = "data"
[delivery]
first_retry_s = 3600
longest_retry_s = 3600
look_s = 0.2
reply_s = 3
connect_s = 3
"""
_PEER = """
[[peers]]
name = "{name}"
ae_title = "{title}"
host = "127.0.0.1"
port = {port}
query = {query}
deliver = true
"""


class Moody:
    """A PACS that answers C-ECHO, and does with what it is sent as its mood says."""

    def __init__(self, *, without: str = "") -> None:
        self.mood: Callable[[Event], int] = lambda _: 0xA700
        self.without, self.port = without, free_port()
        self._start()

    def _start(self) -> None:
        self._ae = AE(ae_title="MOODY")
        self._ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax != self.without:
                self._ae.add_supported_context(str(context.abstract_syntax))
        handler = (evt.EVT_C_STORE, self._store)
        self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[handler])

    def _store(self, event: Event) -> int:
        return self.mood(event)

    def learns_everything(self) -> None:
        self._ae.shutdown()
        self.without, self.mood = "", lambda _: 0
        self._start()

    def stop(self) -> None:
        self._ae.shutdown()


def aborting(event: Event) -> int:
    event.assoc.abort()
    return 0


class Site:
    def __init__(self, folder: Path, orthanc: Peer) -> None:
        self._folder, self.down = folder, free_port()
        self.full, self.rude, self.old = Moody(), Moody(), Moody(without=SEG)
        self.rude.mood, self.old.mood = aborting, lambda _: 0
        self.receivers = [self.receiver(free_port())]
        rows = {
            "works": ("RECEIVER", self.receivers[0].dicom_port, "true"),
            "down": ("RECEIVER", self.down, "true"),
            "hangs": (orthanc.ae_title, orthanc.port, "true"),
            "full": ("MOODY", self.full.port, "false"),
            "rude": ("MOODY", self.rude.port, "false"),
            "old": ("MOODY", self.old.port, "false"),
        }
        text = _HEAD + "".join(
            _PEER.format(name=name, title=title, port=port, query=query)
            for name, (title, port, query) in rows.items()
        )
        settings = folder / "wetread.toml"
        settings.write_text(text)
        self.bench = Bench(folder, peers=load(settings, {}).peers)
        self.bench.install()
        command = [sys.executable, "-m", "serving", "--settings", settings, "worker"]
        with (folder / "worker.log").open("ab") as log:
            self._worker = subprocess.Popen(command, stderr=log)

    def receiver(self, port: int) -> Receiver:
        return Receiver(
            PacsPlan(
                folder=self._folder / f"received-{port}",
                dicom_port=port,
                http_port=0,
                forward_to=AETitle("NOBODY"),
                forward_port=1,
            )
        )

    def items(self, destination: str) -> list[Delivery]:
        return [d for d in self.bench.journal.deliveries() if d.destination == destination]

    def states(self, destination: str) -> set[str]:
        return {item.state for item in self.items(destination)}

    def tried(self, destination: str) -> bool:
        items = self.items(destination)
        return len(items) >= 3 and all(item.attempts for item in items)

    def stop(self) -> None:
        self._worker.terminate()
        self._worker.wait(10)
        for moody in (self.full, self.rude, self.old):
            moody.stop()
        for receiver in self.receivers:
            receiver.stop()


@pytest.fixture
def hanging(orthanc_process: tuple[Peer, int]) -> Iterator[tuple[Peer, int]]:
    peer, pid = orthanc_process
    os.kill(pid, signal.SIGSTOP)
    yield peer, pid
    os.kill(pid, signal.SIGCONT)


@pytest.fixture
def site(tmp_path: Path, hanging: tuple[Peer, int]) -> Iterator[Site]:
    made = Site(tmp_path, hanging[0])
    yield made
    made.stop()


def test_each_destination_gets_its_results_as_soon_as_it_takes_them(
    site: Site, hanging: tuple[Peer, int]
):
    complete(site.bench, site.bench.receive(mr()))
    soon(lambda: site.states("works") == {"proven"})
    others = ("down", "hangs", "full", "rude", "old")
    soon(lambda: all(map(site.tried, others)))
    assert all(site.states(name) == {"waiting"} for name in others[:-1])

    # What is refused for what it is has a state of its own; the rest got through.
    kinds = {r.instance_uid: r.kind for r in site.bench.journal.results()}
    assert {kinds[d.instance_uid]: d.state for d in site.items("old")} == {
        "SEG": "refused",
        "SR": "delivered",
        "KEY_IMAGE": "delivered",
        "TEXT": "delivered",
    }
    site.old.learns_everything()
    again = site.bench.parts.operations.deliver_again(destination="old")
    assert [kinds[d.instance_uid] for d in again] == ["SEG"]
    soon(lambda: site.states("old") == {"delivered"})

    # The next attempts are an hour away, and yet:
    site.receivers.append(site.receiver(site.down))
    os.kill(hanging[1], signal.SIGCONT)
    site.full.mood = site.rude.mood = lambda _: 0
    soon(lambda: site.states("down") == site.states("hangs") == {"proven"})
    soon(lambda: site.states("full") == site.states("rude") == {"delivered"})
