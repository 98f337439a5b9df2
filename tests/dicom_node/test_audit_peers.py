"""What peers leave in the audit trail when they store, ask, fetch or are refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from dicom_node.archive import Archive
from dicom_node.audit.auditor import Auditor
from dicom_node.audit.peers import PeerAudit
from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.peers import AssociationPolicy
from dicom_node.query_scp import QueryProvider
from dicom_node.retrieve_scp import RetrieveProvider
from dicom_node.scp import Listening, Node
from dicom_node.searching import Searches
from tests.dicom_node.audit_rig import trail, values, written
from tests.dicom_node.rig import OURS, image, part10, run, store, wait_for
from tests.dicom_node.test_query_retrieve import STATION

STORED = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def auditor(engine: Engine, index: Index) -> Auditor:
    return trail(engine, patient_of=lambda uid: index.study(uid).patient_id)


@pytest.fixture
def port(ingest: Ingest, index: Index, archive: Archive, auditor: Auditor) -> Iterator[int]:
    policy = AssociationPolicy(ae_title=OURS, peers=(STATION,), allow_unknown_loopback=False)
    audit = PeerAudit(auditor, auditor.process)
    query = QueryProvider(Searches(index.engine, index.tenant), ae_title=OURS, audit=audit)
    retrieve = RetrieveProvider(index, archive, policy=policy, audit=audit)
    node = Node(
        ingest,
        policy,
        lambda _: None,
        listening=Listening(host="127.0.0.1", port=0),
        services=[*query.handlers(), *retrieve.handlers()],
        audit=audit,
    )
    node.start()
    yield node.port
    node.stop(grace_s=0.5)


@pytest.fixture
def call(port: int) -> Callable[..., int]:
    def called(tool: str, *arguments: object, title: str = "STATION") -> int:
        return run(tool, "-aet", title, "-aec", OURS, "127.0.0.1", port, *arguments).code

    return called


def test_a_store_association_leaves_begin_and_sum(
    call: Callable[..., int], auditor: Auditor, tmp_path: Path
) -> None:
    files = []
    for n in range(1, 6):
        files.append(tmp_path / f"{n}.dcm")
        files[-1].write_bytes(part10(image(n)))
    assert call("storescu", *files) == 0
    wait_for(lambda: len(written(auditor)) == 2)
    begin, done = written(auditor)
    assert (begin.event, done.event, done.user) == ("TRANSFER_BEGUN", "TRANSFERRED", "STATION")
    assert values(done, "//SOPClass/@UID") == [STORED]
    assert values(done, "//SOPClass/@NumberOfInstances") == ["5"]
    assert values(done, "//ActiveParticipant/@AlternativeUserID") == [
        "AETITLES=STATION",
        "AETITLES=WETREAD",
    ]
    assert values(done, "//RoleIDCode/@csd-code") == ["110153", "110152"]
    assert values(done, "//ParticipantObjectIdentification/@ParticipantObjectID") == [
        str(image(1).StudyInstanceUID),
        str(image(1).PatientID),
    ]
    assert call("storescu", *files[:2]) == 0
    wait_for(lambda: len(written(auditor)) == 4)
    assert [(r.event, *values(r, "//SOPClass/@NumberOfInstances")) for r in written(auditor)][
        2:
    ] == [("TRANSFER_BEGUN",), ("REPEATED", "2")]


def test_a_refused_peer_is_an_alert_and_not_one_each_time(
    call: Callable[..., int], auditor: Auditor
) -> None:
    assert call("echoscu", title="STRANGER") != 0
    assert call("echoscu", title="OTHER") != 0
    (alert,) = written(auditor)
    assert alert.event == "REFUSED"
    assert values(alert, "//EventID/@csd-code") == ["110113"]
    assert values(alert, "//ParticipantObjectIdentification/@ParticipantObjectID") == ["STRANGER"]


def test_queries_and_retrievals_say_what_was_asked_and_what_went_out(
    call: Callable[..., int], auditor: Auditor, ingest: Ingest, tmp_path: Path
) -> None:
    for n in (1, 2):
        store(ingest, image(n))
    study = str(image(1).StudyInstanceUID)
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    assert call("findscu", *keys) == 0
    assert call("findscu", *keys) == 0
    (asked,) = written(auditor)
    assert (asked.event, asked.user) == ("QUERIED", "STATION")
    assert values(asked, "//ParticipantObjectIDTypeCode/@csd-code") == ["110181"]
    assert call("getscu", "-od", tmp_path, *keys) == 0
    wait_for(lambda: len(written(auditor)) == 3)
    begin, done = written(auditor)[1:]
    assert (begin.event, done.event, done.user) == ("TRANSFER_BEGUN", "TRANSFERRED", "STATION")
    assert values(done, "//SOPClass/@NumberOfInstances") == ["2"]
    assert values(done, "//ActiveParticipant/@UserID") == ["wetread-node", "STATION"]
