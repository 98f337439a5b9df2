"""Query and retrieval as provider: DCMTK and pynetdicom ask us."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node import schema
from dicom_node.archive import Archive
from dicom_node.audit.auditor import Silent
from dicom_node.audit.message import Actor
from dicom_node.audit.peers import PeerAudit
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.listener import QUERIES, RETRIEVALS
from dicom_node.peers import AssociationPolicy, Peer
from dicom_node.query_scp import CANCELED, QueryProvider
from dicom_node.retrieve_scp import RetrieveProvider
from dicom_node.scp import Listening, Node
from dicom_node.scu import association
from dicom_node.searching import Searches
from imaging.identity import ae_title, derived_uid
from tests.dicom_node.rig import OURS, Ran, Running, image, run, store

STATION = Peer(
    name="station",
    ae_title=ae_title("STATION"),
    host="127.0.0.1",
    port=104,
    may_query=True,
    may_retrieve=True,
)
MODALITY = Peer(name="ct", ae_title=ae_title("CT1"), host="127.0.0.1", port=104)
(FIND,), (MOVE, GET) = QUERIES, RETRIEVALS
EXPLICIT = ["1.2.840.10008.1.2.1"]
_MANY = 200


@pytest.fixture
def serving(ingest: Ingest, index: Index, archive: Archive) -> Iterator[Callable[..., Running]]:
    """Return what starts a node with three images in two studies, that known peers may ask."""
    nodes: list[Node] = []
    for number in (1, 2):
        store(ingest, image(number))
    unicode = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Ännchen"}
    other = image(1, study="other", PatientID="P2", StudyDate="20250607", Modality="MR", **unicode)
    store(ingest, other)

    def started(*more: Peer) -> Running:
        policy = AssociationPolicy(ae_title=OURS, peers=(STATION, MODALITY, *more))
        quiet = PeerAudit(Silent(), Actor(user="node"))
        query = QueryProvider(Searches(index.engine, index.tenant), ae_title=OURS, audit=quiet)
        retrieve = RetrieveProvider(index, archive, policy=policy, audit=quiet)
        node = Node(
            ingest,
            policy,
            lambda _: None,
            listening=Listening(host="127.0.0.1", port=0),
            services=[*query.handlers(), *retrieve.handlers()],
        )
        node.start()
        nodes.append(node)
        return Running(node=node, ingest=ingest, index=index, archive=archive)

    yield started
    for node in nodes:
        node.stop(grace_s=0.5)


def us(running: Running) -> Peer:
    return Peer(name="us", ae_title=OURS, host="127.0.0.1", port=running.port)


def asked(level: str, **keys: object) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet, ds.QueryRetrieveLevel = "ISO_IR 192", level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def found(running: Running, keys: Dataset) -> tuple[list[Dataset], int]:
    contexts = [build_context(FIND, EXPLICIT)]
    with association(us(running), contexts, STATION.ae_title) as opened:
        answers = list(opened.send_c_find(keys, FIND))
    return [answer for _, answer in answers if answer], answers[-1][0].Status


def dates(running: Running, **keys: object) -> list[str]:
    answers, status = found(running, asked("STUDY", StudyDate=keys.pop("date", ""), **keys))
    assert status == 0
    return sorted(answer.StudyDate for answer in answers)


def test_every_kind_of_matching(serving: Callable[..., Running]) -> None:
    running = serving()
    ct, mr = "20260102", "20250607"
    assert dates(running) == [mr, ct]
    assert dates(running, PatientID="*") == [mr, ct]
    assert dates(running, PatientID="P1") == [ct]
    assert dates(running, PatientID="P?") == [mr, ct]
    assert dates(running, PatientName="doe*") == [ct]
    assert dates(running, PatientName="Müller*") == [mr]
    assert dates(running, date="20250101-20251231") == [mr]
    assert dates(running, date="20260101-") == [ct]
    uids = [derived_uid("study"), derived_uid("other")]
    assert dates(running, StudyInstanceUID=uids) == [mr, ct]
    assert dates(running, StudyInstanceUID=uids[0]) == [ct]
    assert dates(running, ModalitiesInStudy="MR") == [mr]
    assert dates(running, StudyInstanceUID="1.2.3") == []


def test_answers_hold_what_was_asked_at_each_level(serving: Callable[..., Running]) -> None:
    running = serving()
    study, series = derived_uid("study"), derived_uid("study", "series")
    summary = {
        "StudyInstanceUID": derived_uid("other"),
        "PatientName": "",
        "ModalitiesInStudy": "",
        "NumberOfStudyRelatedInstances": "",
    }
    (answer,), _ = found(running, asked("STUDY", **summary))
    assert (answer.PatientName, answer.ModalitiesInStudy) == ("Müller^Ännchen", "MR")
    assert (answer.NumberOfStudyRelatedInstances, answer.RetrieveAETitle) == (1, OURS)
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    wanted = asked(
        "SERIES", StudyInstanceUID=study, SeriesInstanceUID="", NumberOfSeriesRelatedInstances=""
    )
    (answer,), _ = found(running, wanted)
    assert (answer.SeriesInstanceUID, answer.NumberOfSeriesRelatedInstances) == (series, 2)
    above = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    answers, _ = found(running, asked("IMAGE", **above, SOPInstanceUID="", InstanceNumber=""))
    assert [answer.InstanceNumber for answer in answers] == [1, 2]
    assert found(running, asked("SERIES", SeriesInstanceUID=""))[1] == 0xA900
    assert found(running, asked("PATIENT", PatientID=""))[1] == 0xA900
    assert found(running, asked("STUDY", StudyDate="yesterday"))[1] == 0xA900


def dcmtk(running: Running, tool: str, *arguments: object, calling: str = "STATION") -> Ran:
    where = ("-aet", calling, "-aec", "WETREAD", "127.0.0.1", running.port)
    return run(tool, *where, "-S", *arguments)


def test_a_query_may_be_canceled(serving: Callable[..., Running], ingest: Ingest) -> None:
    for number in range(_MANY):
        store(ingest, image(1, study=f"many{number}"))
    running = serving()
    keys = asked("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances=None)
    contexts = [build_context(FIND, EXPLICIT), build_context(Verification, EXPLICIT)]
    with association(us(running), contexts, STATION.ae_title) as opened:
        answers = opened.send_c_find(keys, FIND, msg_id=7)
        next(answers)
        opened.send_c_cancel(7, query_model=FIND)
        statuses = [status.Status for status, _ in answers]
        assert statuses[-1] == CANCELED
        assert len(statuses) < _MANY
        assert opened.send_c_echo().Status == 0  # the association goes on


def test_rights_decide_which_services_a_peer_is_offered(serving: Callable[..., Running]) -> None:
    asker = replace(STATION, ae_title=ae_title("ASKER"), may_retrieve=False)
    running = serving(asker)
    query = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID")
    assert dcmtk(running, "findscu", *query).code == 0
    assert dcmtk(running, "findscu", *query, calling="ASKER").code == 0
    for calling in ("CT1", "STRANGER"):
        refused = dcmtk(running, "findscu", *query, calling=calling)
        assert "No Acceptable Presentation Contexts" in refused.output
    refused = dcmtk(running, "movescu", "-aem", "STATION", *query, calling="ASKER")
    assert "No valid Presentation Context ID" in refused.output


def test_dcmtk_fetches_a_study_by_get(serving: Callable[..., Running], tmp_path: Path) -> None:
    running, study = serving(), derived_uid("study")
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
    folder = tmp_path / "got"
    folder.mkdir()
    ran = dcmtk(running, "getscu", "-od", folder, *keys)
    assert ran.code == 0, ran.output
    got = sorted(
        (dcmread(path) for path in folder.iterdir()),
        key=lambda ds: ds.InstanceNumber,
    )
    assert [ds.SOPInstanceUID for ds in got] == [image(n).SOPInstanceUID for n in (1, 2)]
    assert all(ds.PixelData == image(ds.InstanceNumber).PixelData for ds in got)


def test_get_counts_what_cannot_be_sent(serving: Callable[..., Running]) -> None:
    running = serving()
    stored = running.index.instance(image(1).SOPInstanceUID)
    assert stored is not None
    running.archive.file(stored.path).unlink()
    kept: list[str] = []
    contexts = [build_context(GET, EXPLICIT), build_context(CTImageStorage, EXPLICIT)]

    def keep(event: evt.Event) -> int:
        kept.append(event.request.AffectedSOPInstanceUID)
        return 0

    with association(
        us(running),
        contexts,
        STATION.ae_title,
        handlers=[(evt.EVT_C_STORE, keep)],
        negotiation=[build_role(CTImageStorage, scp_role=True)],
    ) as opened:
        study = asked("STUDY", StudyInstanceUID=derived_uid("study"))
        status, failed = list(opened.send_c_get(study, GET))[-1]
    assert kept == [image(2).SOPInstanceUID]
    assert status.Status == 0xB000
    assert (status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (1, 1)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == image(1).SOPInstanceUID


def test_move_goes_to_configured_peers_only(
    serving: Callable[..., Running], tmp_path: Path
) -> None:
    other = Ingest(Archive(tmp_path / "other", reserve_bytes=0), _second(tmp_path), lambda: 1.0)
    policy = AssociationPolicy(ae_title=ae_title("VIEWER"))
    viewer = Node(other, policy, lambda _: None, listening=Listening(host="127.0.0.1", port=0))
    viewer.start()
    known = Peer(name="viewer", ae_title=ae_title("VIEWER"), host="127.0.0.1", port=viewer.port)
    running = serving(known)
    study = asked("STUDY", StudyInstanceUID=derived_uid("study"))
    with association(us(running), [build_context(MOVE, EXPLICIT)], STATION.ae_title) as opened:
        last = list(opened.send_c_move(study, "VIEWER", MOVE))[-1][0]
        assert (last.Status, last.NumberOfCompletedSuboperations) == (0, 2)
        assert list(opened.send_c_move(study, "NOBODY", MOVE))[-1][0].Status == 0xA801
        wide = asked("STUDY", StudyInstanceUID="")
        assert list(opened.send_c_move(wide, "VIEWER", MOVE))[-1][0].Status == 0xA900
    viewer.stop(grace_s=0.5)
    assert other._index.counts().instances == 2


def _second(folder: Path) -> Index:
    engine = schema.connect(f"sqlite:///{folder}/other.db")
    schema.upgrade(engine)
    return Index(engine)
