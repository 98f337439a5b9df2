from dataclasses import asdict
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import delete, insert

from dicom_node.archive import Archive, Encoded
from dicom_node.index import MOST_REFUSED, Index
from dicom_node.ingest import Ingest
from dicom_node.records import Added, SetAside, StudyFilter
from dicom_node.schema import set_aside
from imaging.errors import (
    Conflict,
    InstanceMismatch,
    MalformedInstance,
    OtherPatient,
    SopClassMismatch,
    StorageFull,
)
from imaging.identity import derived_uid
from tests.dicom_node.rig import dataset_of, image, in_parallel, part10, store

STUDY = derived_uid("study")


def files(archive: Archive) -> int:
    return len(list(archive.folder.rglob("*.dcm")))


def test_a_new_instance_is_in_the_archive_and_in_the_index(
    ingest: Ingest, index: Index, archive: Archive
) -> None:
    stored = store(ingest, image())
    assert stored.added is Added.NEW
    assert index.instance(stored.record.instance_uid) == stored.record
    assert dataset_of(archive.read(stored.record.path)) == dataset_of(part10(image()))
    study = index.study(STUDY)
    assert (study.patient_id, study.state, study.received, study.sender) == (
        "P1",
        "receiving",
        1,
        "PACS",
    )
    (series,) = index.series_of(STUDY)
    assert (series.modality, series.number, series.instances, series.results) == ("CT", 3, 1, 0)


def test_the_same_bytes_again_change_nothing(
    ingest: Ingest, index: Index, archive: Archive
) -> None:
    first = store(ingest, image())
    before = index.study(STUDY)
    again = store(ingest, image())
    assert (again.added, again.wakes_study) == (Added.DUPLICATE, False)
    assert index.study(STUDY) == before
    assert index.instance(first.record.instance_uid) == first.record
    assert files(archive) == 1


def test_the_index_holds_text_as_people_write_it(ingest: Ingest, index: Index) -> None:
    """Bytes in GB18030 under a declaration of Latin-1, as some archives forward them."""
    name, description = ("王^小东".encode("gb18030"), "头部平扫".encode("gb18030"))
    header = {"SpecificCharacterSet": "ISO_IR 100", "BodyPartExamined": "HEAD"}
    ds = image(**header, StudyDescription=description.decode("latin_1"))
    ds.PatientName = name.decode("latin_1")
    store(ingest, ds)
    study = index.study(STUDY)
    assert (study.patient_name, study.description) == ("王^小东", "头部平扫")


def with_sequence() -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-A0100", "SRT", "Brain"
    return image(AnatomicRegionSequence=[item])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_another_encoding_of_the_same_content_is_a_duplicate(
    ingest: Ingest, index: Index, archive: Archive, syntax: str
) -> None:
    store(ingest, with_sequence())
    other = with_sequence()
    other["AnatomicRegionSequence"].is_undefined_length = True
    other.AnatomicRegionSequence[0].is_undefined_length_sequence_item = True
    other.add_new(0x00080000, "UL", 400)  # a group length
    stored = ingest.store(
        dataset_of(part10(other, syntax)),
        sop_class_uid=other.SOPClassUID,
        instance_uid=other.SOPInstanceUID,
        transfer_syntax_uid=syntax,
        calling_ae="PACS",
        address="127.0.0.1",
    )
    assert stored.added is Added.DUPLICATE
    assert index.set_aside() == ()
    assert files(archive) == 1


def test_other_content_under_one_uid_is_kept_aside_once(
    ingest: Ingest, index: Index, archive: Archive
) -> None:
    first = store(ingest, image())
    for _ in range(2):
        with pytest.raises(Conflict):
            store(ingest, image(StudyDescription="Neck"))
    assert index.instance(first.record.instance_uid) == first.record
    (aside,) = index.set_aside(STUDY)
    assert (aside.code, aside.instance_uid) == ("CONFLICT", first.record.instance_uid)
    assert aside.path is not None
    assert dcmread(BytesIO(archive.read(aside.path))).StudyDescription == "Neck"
    assert files(archive) == 2


def test_an_instance_of_another_patient_does_not_join_the_study(
    ingest: Ingest, index: Index
) -> None:
    store(ingest, image(1))
    with pytest.raises(OtherPatient):
        store(ingest, image(2, PatientID="P2"))
    assert index.study(STUDY).received == 1
    (aside,) = index.set_aside()
    assert (aside.code, "P2" in aside.text) == ("OTHER_PATIENT", False)


def test_an_empty_patient_id_fits_and_the_first_real_one_counts(
    ingest: Ingest, index: Index
) -> None:
    store(ingest, image(1, PatientID=""))
    store(ingest, image(2, PatientID="P1"))
    assert index.study(STUDY).patient_id == "P1"
    with pytest.raises(OtherPatient):
        store(ingest, image(3, PatientID="P2"))


@pytest.mark.parametrize(
    "header", [{"Rows": 17}, {"Rows": None}, {"NumberOfFrames": 2**31 - 1}, {"BitsAllocated": 32}]
)
def test_pixels_must_be_as_many_as_the_header_says(
    ingest: Ingest, index: Index, header: dict[str, int]
) -> None:
    with pytest.raises(MalformedInstance):
        store(ingest, image(**header))
    assert index.counts().instances == 0
    assert [aside.code for aside in index.set_aside()] == ["MALFORMED_INSTANCE"]


def test_the_command_and_the_data_set_must_agree(ingest: Ingest) -> None:
    ds = image()
    call = {
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "calling_ae": "PACS",
        "address": "127.0.0.1",
    }
    encoded = dataset_of(part10(ds))
    with pytest.raises(InstanceMismatch):
        ingest.store(encoded, sop_class_uid=ds.SOPClassUID, instance_uid="1.2.3", **call)
    with pytest.raises(InstanceMismatch):
        ingest.store(encoded, sop_class_uid=ds.SOPClassUID, instance_uid="../../etc", **call)
    with pytest.raises(SopClassMismatch):
        ingest.store(
            encoded,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
            instance_uid=ds.SOPInstanceUID,
            **call,
        )


def test_without_space_nothing_is_taken_in(archive: Archive, index: Index) -> None:
    full = Archive(archive.folder, reserve_bytes=1 << 60)
    with pytest.raises(StorageFull):
        store(Ingest(full, index, lambda: 1.0), image())
    assert index.counts().studies == 0


def test_many_threads_share_transactions_and_lose_nothing(ingest: Ingest, index: Index) -> None:
    in_parallel(8, lambda i: [store(ingest, image(n)) for n in range(i, i + 12)])
    assert index.study(STUDY).received == 19
    assert index.counts().instances == 19
    assert len(index.instances_of(STUDY)) == 19


def test_a_result_neither_wakes_nor_reopens_its_study(ingest: Ingest, index: Index) -> None:
    store(ingest, image())
    before = index.study(STUDY)
    made = image(series="ours")
    encoded = Encoded(
        dataset=dataset_of(part10(made)),
        sop_class_uid=made.SOPClassUID,
        instance_uid=made.SOPInstanceUID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    assert ingest.store_result(encoded, made_by="WETREAD").added is Added.NEW
    assert index.study(STUDY) == before
    assert not store(ingest, made).wakes_study
    assert index.result_series(STUDY) == {made.SeriesInstanceUID}
    assert made.SeriesInstanceUID not in index.received_counts(STUDY)


def test_studies_are_found_by_what_one_knows(ingest: Ingest, index: Index) -> None:
    store(ingest, image(study="a", StudyDate="20260101", PatientName="Doe^Jane"))
    store(
        ingest,
        image(study="b", StudyDate="20260301", PatientID="P_2", Modality="MR", PatientName="Roe"),
    )

    def found(**wanted: str) -> list[str]:
        page = index.studies(StudyFilter(**wanted))
        assert page.total == len(page.studies)
        return [study.study_uid for study in page.studies]

    a, b = derived_uid("a"), derived_uid("b")
    assert sorted(found()) == sorted([a, b])
    assert found(patient_id="P_2") == found(modality="mr") == found(text="roe") == [b]
    assert found(date_to="20260201") == found(text="jane") == [a]
    assert found(text="P_1") == []  # no wildcard
    assert found(state="complete") == []
    assert index.studies(limit=1).total == 2


def test_text_that_no_database_holds_does_not_keep_an_image_out(
    ingest: Ingest, index: Index
) -> None:
    store(ingest, image(StudyDescription="a\0b"))
    assert index.study(STUDY).description == "ab"


def test_what_is_refused_for_days_does_not_fill_the_database(index: Index) -> None:
    refused = SetAside(
        received_at=1.0,
        instance_uid="1.2",
        study_uid="",
        code="MALFORMED_INSTANCE",
        text="damaged",
        path=None,
        calling_ae="FUZZ",
        address="127.0.0.1",
    )
    row = {"tenant": index.tenant, **asdict(refused)}
    with index.engine.begin() as connection:
        connection.execute(insert(set_aside), [row] * MOST_REFUSED)
        connection.execute(insert(set_aside), [{**row, "path": "kept/file"}])
    for _ in range(50):
        index.add_set_aside(refused)
    assert index.counts().set_aside <= MOST_REFUSED + 1
    with index.engine.begin() as connection:
        connection.execute(delete(set_aside).where(set_aside.c.path.is_(None)))
    assert index.counts().set_aside == 1  # what has a file stays
