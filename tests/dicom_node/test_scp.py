import socket
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.presentation import build_context
from sqlalchemy import Engine, delete

from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.delivery import send
from dicom_node.guard import Fault, abort_pdu
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.listener import LARGEST_PDU
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.scp import Listening, Node
from dicom_node.scu import association, echo
from imaging.identity import ae_title, derived_uid
from tests.dicom_node.rig import (
    OURS,
    Running,
    dataset_of,
    image,
    in_parallel,
    part10,
    prepared,
    run,
    save,
    wait_for,
)

PACS = ae_title("PACS")


def ourselves(running: Running) -> Peer:
    return Peer(name="us", ae_title=OURS, host="127.0.0.1", port=running.port)


def test_an_echo_is_answered(running: Running) -> None:
    assert running.dcmtk("echoscu").code == 0
    assert echo(ourselves(running), ae_title=PACS) is None


def test_another_called_title_is_refused_with_the_reason(running: Running) -> None:
    assert "Called AE Title Not Recognized" in running.dcmtk("echoscu", called="OTHER").output


def test_an_unknown_sender_is_refused_with_the_reason(start: Callable[..., Running]) -> None:
    known = Peer(name="pacs", ae_title=PACS, host="127.0.0.1", port=104)
    running = start(AssociationPolicy(ae_title=OURS, peers=(known,), allow_unknown_loopback=False))
    assert "Calling AE Title Not Recognized" in running.dcmtk("echoscu", "-aet", "X").output
    assert running.dcmtk("echoscu", "-aet", "PACS").code == 0
    assert "Calling AE title not recognised" in str(echo(ourselves(running), ae_title=OURS))


def test_a_peer_that_may_not_send_is_told_so(start: Callable[..., Running], tmp_path: Path) -> None:
    mute = Peer(name="pacs", ae_title=PACS, host="localhost", port=104, may_send=False)
    running = start(AssociationPolicy(ae_title=OURS, peers=(mute,)))
    paths = save(tmp_path / "in", image())
    assert list(send(ourselves(running), paths, ae_title=PACS).statuses.values()) == [0x0124]
    assert running.index.counts().instances == 0


def test_without_space_associations_are_refused_for_now(archive: Archive, index: Index) -> None:
    ingest = Ingest(Archive(archive.folder, reserve_bytes=1 << 60), index, time.time)
    node = Node(
        ingest,
        AssociationPolicy(ae_title=OURS),
        lambda _: None,
        listening=Listening(host="127.0.0.1", port=0),
    )
    node.start()
    ran = run("echoscu", "-aec", "WETREAD", "127.0.0.1", node.port)
    node.stop()
    assert "Rejected Transient" in ran.output


def test_release_tells_which_studies_got_something_new(running: Running, tmp_path: Path) -> None:
    a, b = image(study="a"), image(study="b", PatientID="P2")
    save(tmp_path / "in", a, b)
    assert running.dcmtk("storescu", "+sd", tmp_path / "in").code == 0
    wait_for(lambda: running.released)
    assert running.released == [{derived_uid("a"), derived_uid("b")}]
    assert running.dcmtk("storescu", "+sd", tmp_path / "in").code == 0
    assert running.dcmtk("echoscu").code == 0
    assert len(running.released) == 1  # only duplicates


def _shared(data: Path) -> list[Path]:
    folders = ("transfer_syntax_ct1", "transfer_syntax_colour")
    return sorted(path for folder in folders for path in (data / folder).glob("*.dcm"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_transfer_syntax_is_kept_byte_by_byte(
    running: Running, data: Path, tmp_path: Path, engine: Engine
) -> None:
    for source in _shared(data):
        with schema.writing(engine) as connection:  # several of these files share a UID
            connection.execute(delete(schema.instances))
        path = prepared(source, tmp_path)
        outcome = send(ourselves(running), [path], ae_title=PACS)
        assert outcome.text == "", (source.name, outcome.text, running.index.set_aside(limit=1))
        (instance_uid,) = outcome.statuses
        instance = running.index.instance(instance_uid)
        assert instance is not None
        kept = running.archive.read(instance.path)
        assert dataset_of(kept) == dataset_of(path.read_bytes()), source.name


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_objects_without_image_pixels_are_kept(
    running: Running, data: Path, tmp_path: Path
) -> None:
    paths = sorted((data / "seg_sr_rt").rglob("*.dcm"))
    for path in paths:
        outcome = send(ourselves(running), [prepared(path, tmp_path)], ae_title=PACS)
        (status,) = outcome.statuses.values()
        assert status in {0, 0x0111}, (path.name, outcome.text)
    kinds = {UID(dcmread(path, force=True).SOPClassUID).name for path in paths}
    assert any("Segmentation" in kind for kind in kinds)
    assert any("SR" in kind for kind in kinds)
    assert "Encapsulated PDF Storage" in kinds


def test_eight_senders_at_once(running: Running, tmp_path: Path) -> None:
    for sender in range(8):
        save(tmp_path / str(sender), *(image(n, study=str(sender)) for n in range(6)))
    codes = []
    in_parallel(8, lambda n: codes.append(running.dcmtk("storescu", "+sd", tmp_path / str(n)).code))
    assert codes == [0] * 8
    assert running.index.counts().instances == 48
    wait_for(lambda: len(running.released) == 8)


def test_an_abort_in_the_middle_of_a_message_leaves_nothing(
    running: Running, tmp_path: Path
) -> None:
    (path,) = save(tmp_path / "in", image(PixelData=bytes(4 << 20), Rows=1024, Columns=2048))
    relay = _CutOff(running.port, after=100_000)
    peer = Peer(name="us", ae_title=OURS, host="127.0.0.1", port=relay.port)
    in_parallel(2, lambda n: relay.carry() if n else send(peer, [path], ae_title=PACS))
    assert running.dcmtk("echoscu").code == 0
    assert running.index.counts().instances == 0
    assert [f for f in running.archive.folder.rglob("*") if f.is_file()] == []


class _CutOff:
    """Carries a connection to `port`, and cuts it after some bytes from the client."""

    def __init__(self, port: int, *, after: int) -> None:
        self._target, self._after = port, after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    def carry(self) -> None:
        client, _ = self._listening.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        client.settimeout(0.05)
        server.settimeout(0.05)
        carried = 0
        while carried < self._after:
            carried += _pass_on(client, server)
            _pass_on(server, client)
        for end in (client, server, self._listening):
            end.close()


def _pass_on(source: socket.socket, target: socket.socket) -> int:
    try:
        data = source.recv(16384)
    except TimeoutError:
        return 0
    target.sendall(data)
    return len(data)


def test_a_pdu_larger_than_agreed_ends_the_connection(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(b"\x01\0" + (LARGEST_PDU * 4).to_bytes(4, "big"))
        connection.settimeout(5)
        assert connection.recv(100) == abort_pdu(Fault.INVALID_PARAMETER)
    assert running.dcmtk("echoscu").code == 0


def test_an_association_is_set_up_quickly(running: Running) -> None:
    context = build_context("1.2.840.10008.5.1.4.1.1.2")
    waits = []
    for _ in range(5):
        began = time.perf_counter()
        with association(ourselves(running), [context], PACS) as opened:
            waits.append(time.perf_counter() - began)
            assert opened.is_established
    assert min(waits) < 0.03  # 0.05 s and more when all contexts are copied


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_malformed_instances(running: Running, data: Path, tmp_path: Path) -> None:
    wrong = []
    for line in (data / "malformed" / "EXPECT.tsv").read_text().splitlines()[1:]:
        name, expectation = line.split("\t")[:2]
        path = prepared(data / "malformed" / name, tmp_path, whole=expectation != "reject")
        (status,) = send(ourselves(running), [path], ae_title=PACS).statuses.values()
        if (expectation == "store_ok" and status != 0) or (expectation == "reject" and status == 0):
            wrong.append((name, status, running.index.set_aside(limit=1)))
    assert wrong == []
    assert running.dcmtk("echoscu").code == 0
    assert not any("^" in aside.text for aside in running.index.set_aside())  # no names


def test_a_sender_may_hurry_a_study_but_not_delay_it(running: Running) -> None:
    low, high = 2, 1  # of Priority (0000,0700); low is what many send unasked
    images = [dcmread(BytesIO(part10(image(number)))) for number in (1, 2, 3)]
    context = build_context(CTImageStorage, ExplicitVRLittleEndian)
    with association(ourselves(running), [context], PACS) as opened:
        opened.send_c_store(images[0], priority=low)
        assert running.index.study(image(1).StudyInstanceUID).priority is None
        opened.send_c_store(images[1], priority=high)
        opened.send_c_store(images[2], priority=low)
    assert running.index.study(image(1).StudyInstanceUID).priority == 3
