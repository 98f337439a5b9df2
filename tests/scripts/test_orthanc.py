"""scripts/orthanc.py and scripts/receiver.py: forward what they get, find what they have."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind

from imaging.identity import AETitle
from scripts.demo_studies import DemoStudy
from scripts.loopback import HOST, free_port
from scripts.orthanc import Orthanc, program
from scripts.pacs import PacsPlan
from scripts.receiver import Receiver

_LIMIT_S = 30.0


def _plan(folder: Path, *, forward_port: int, forward_to: str) -> PacsPlan:
    return PacsPlan(
        folder=folder,
        dicom_port=free_port(0),
        http_port=free_port(0),
        forward_to=AETitle(forward_to),
        forward_port=forward_port,
    )


@pytest.fixture
def stops() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def destination(tmp_path: Path, stops: ExitStack) -> Receiver:
    """A receiver that stands where Wetread would."""
    plan = _plan(tmp_path / "destination", forward_port=free_port(0), forward_to="NOBODY")
    receiver = Receiver(plan)
    stops.callback(receiver.stop)
    return receiver


def _orthanc(tmp_path: Path, destination: Receiver, stops: ExitStack) -> Orthanc:
    executable = program()
    if executable is None:
        pytest.skip("Orthanc is not installed")
    plan = _plan(
        tmp_path / "pacs", forward_port=destination.dicom_port, forward_to=destination.ae_title
    )
    pacs = Orthanc(executable, plan)
    stops.callback(pacs.stop)
    pacs.wait_until_ready()
    return pacs


def _wait_for(receiver: Receiver, study_uid: str, count: int) -> None:
    end = time.monotonic() + _LIMIT_S
    while len(receiver.instances(study_uid)) < count and time.monotonic() < end:
        time.sleep(0.1)


def _found(port: int, ae_title: str, query: Dataset) -> list[Dataset]:
    ae = AE(ae_title="TESTS")
    ae.add_requested_context(StudyRootFind)
    association = ae.associate(HOST, port, ae_title=ae_title)
    assert association.is_established
    answers = [answer for _, answer in association.send_c_find(query, StudyRootFind)]
    association.release()
    return [answer for answer in answers if answer is not None]


def test_orthanc_forwards_a_study_and_finds_it(
    mr: DemoStudy, tmp_path: Path, destination: Receiver, stops: ExitStack
) -> None:
    pacs = _orthanc(tmp_path, destination, stops)
    pacs.store(mr.paths)
    assert len(pacs.instances(mr.study_uid)) == 181
    assert pacs.instances("1.2.3") == frozenset()
    _wait_for(destination, mr.study_uid, 181)
    assert destination.instances(mr.study_uid) == pacs.instances(mr.study_uid)
    assert all(address.startswith("http://127.0.0.1:") for address in pacs.addresses(mr.study_uid))


def test_orthanc_lets_no_stranger_in(
    tmp_path: Path, destination: Receiver, stops: ExitStack
) -> None:
    pacs = _orthanc(tmp_path, destination, stops)
    ae = AE(ae_title="STRANGER")
    ae.add_requested_context(StudyRootFind)
    assert not ae.associate(HOST, pacs.dicom_port, ae_title=pacs.ae_title).is_established


def test_receiver_forwards_and_answers_queries(
    ct: DemoStudy, tmp_path: Path, destination: Receiver, stops: ExitStack
) -> None:
    plan = _plan(
        tmp_path / "pacs", forward_port=destination.dicom_port, forward_to=destination.ae_title
    )
    pacs = Receiver(plan)
    stops.callback(pacs.stop)
    pacs.store(ct.paths[:12])
    assert len(destination.instances(ct.study_uid)) == 12

    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = ct.study_uid
    query.SeriesInstanceUID = ""
    (series,) = _found(destination.dicom_port, destination.ae_title, query)
    assert series.NumberOfSeriesRelatedInstances == 12

    query.QueryRetrieveLevel = "IMAGE"
    query.SeriesInstanceUID = series.SeriesInstanceUID
    query.SOPInstanceUID = sorted(destination.instances(ct.study_uid))[:3]
    images = _found(destination.dicom_port, destination.ae_title, query)
    assert [image.SOPInstanceUID for image in images] == query.SOPInstanceUID

    query.StudyInstanceUID = "1.2.3"
    assert _found(destination.dicom_port, destination.ae_title, query) == []
