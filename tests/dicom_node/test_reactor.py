import threading
import time

from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from dicom_node.peers import Peer
from dicom_node.reactor import hold
from dicom_node.scu import Timeouts, association, echo
from imaging.identity import ae_title
from tests.dicom_node.rig import OURS, free_port


class Slow(threading.Thread):
    """Passes its checkpoint and dawdles before it looks, as a reactor on a busy machine does."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._reactor_checkpoint = threading.Event()
        self._reactor_checkpoint.set()
        self.looks, self.ended = 0, False

    def run(self) -> None:
        while not self.ended:
            self._reactor_checkpoint.wait()
            time.sleep(0.005)
            self.looks += 1


def test_a_reactor_that_is_held_looks_no_more():
    reactor = Slow()
    reactor.start()
    hold(reactor)
    for _ in range(20):
        reactor._reactor_checkpoint.clear()
        looks = reactor.looks
        time.sleep(0.01)
        assert reactor.looks == looks
        reactor._reactor_checkpoint.set()
        time.sleep(0.006)
    assert reactor.looks > 5
    reactor.ended = True
    reactor._reactor_checkpoint.set()
    reactor.join(10)


def test_one_that_has_ended_is_not_waited_for():
    reactor = Slow()
    hold(reactor)
    reactor._reactor_checkpoint.clear()


def test_many_requests_on_one_association_get_their_answers():
    ae, port = AE(ae_title="PACS"), free_port()
    ae.add_supported_context(Verification)
    handlers = [(evt.EVT_C_ECHO, lambda _: 0)]
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    peer = Peer(name="pacs", ae_title=ae_title("PACS"), host="127.0.0.1", port=port)
    soon = Timeouts(connect_s=5, reply_s=20)
    with association(peer, [build_context(Verification)], OURS, timeouts=soon) as opened:
        answers = [opened.send_c_echo().get("Status") for _ in range(100)]
    assert answers == [0] * 100
    assert echo(peer, ae_title=OURS, timeouts=soon) is None
    ae.shutdown()
