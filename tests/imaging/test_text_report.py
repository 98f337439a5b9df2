from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.notice import Notice, not_performed
from imaging.objects import encoded, reference_to
from imaging.reasons import reason
from imaging.seg import segmentation
from imaging.sentences import Languages
from imaging.sr import measurement_report
from imaging.text import declared
from imaging.text_report import Said, text_report
from tests.builders import ALGORITHM, ct_series, report_on

BASIC = "1.2.840.10008.5.1.4.1.1.88.11"
SAID = (Said(english="Brain volume 12 ml.", chinese="脑体积 12 ml"),)


def stored(ds: Dataset) -> Dataset:
    return dcmread(BytesIO(encoded(ds)))


@pytest.fixture(scope="module")
def sr() -> Dataset:
    images = ct_series((3, 8, 8), PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100")
    mask = np.zeros((3, 8, 8), dtype=bool)
    mask[1, 2:6, 2:6] = True
    note = reason("COMPLETENESS_NOT_CONFIRMED", detail="quiet")
    report = report_on(images, [mask], notes=(note,))
    seg = segmentation(report, images[0], wetread_version="0.1.0")
    made = measurement_report(report, images[0], segmentation=seg, wetread_version="0.1.0")
    return stored(made)


@pytest.fixture(scope="module")
def notice() -> Dataset:
    (source, *_) = ct_series((3, 8, 8))
    from imaging.header import header_of  # noqa: PLC0415

    made = Notice(
        reasons=(reason("NO_IMAGES"),),
        instances=(reference_to(header_of(source)),),
        algorithm=ALGORITHM,
        result_key="key",
        created=datetime(2024, 2, 1, tzinfo=UTC),
        language="both",
    )
    return stored(not_performed(made, source, wetread_version="0.1.0"))


def texts(ds: Dataset) -> list[str]:
    return [str(item.TextValue) for item in ds.ContentSequence
            if item.ValueType == "TEXT" and item.RelationshipType == "CONTAINS"]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_words_are_a_valid_basic_text_report_and_repeatable(sr: Dataset, language: Languages):
    data = encoded(text_report(sr, SAID, language=language))
    assert problems(data) == ()
    assert data == encoded(text_report(sr, SAID, language=language))
    ds = dcmread(BytesIO(data))
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == BASIC
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID != sr.SOPInstanceUID
    assert ds.SeriesInstanceUID != sr.SeriesInstanceUID
    assert (ds.StudyInstanceUID, str(ds.PatientName)) == (sr.StudyInstanceUID, "Müller^Jörg")
    assert "ContributingEquipmentSequence" in ds


def test_each_language_stands_where_the_settings_say(sr: Dataset):
    said = {
        language: texts(text_report(sr, SAID, language=language))
        for language in ("en", "zh", "both")
    }
    assert said["en"][0] == "Brain volume 12 ml."
    assert said["zh"][:2] == ["脑体积 12 ml。", "Brain volume 12 ml."]
    assert said["both"][:2] == ["Brain volume 12 ml.", "脑体积 12 ml。"]
    assert declared(stored(text_report(sr, SAID, language="zh"))) == ("ISO_IR 192",)
    assert declared(stored(text_report(sr, SAID, language="en"))) == ("ISO_IR 100",)


def test_what_a_reader_must_know_is_said_too(sr: Dataset):
    said = "\n".join(texts(text_report(sr, SAID, language="en")))
    assert "Research use only" in said
    assert "COMPLETENESS_NOT_CONFIRMED" in said
    assert ALGORITHM.title in said


def test_languages_are_different_objects(sr: Dataset):
    uids = {text_report(sr, SAID, language=each).SOPInstanceUID for each in ("en", "zh", "both")}
    assert len(uids) == 3


def test_a_notice_keeps_its_words(notice: Dataset):
    ds = text_report(notice, (), language="both")
    assert problems(encoded(ds)) == ()
    assert texts(ds) == texts(notice)
    assert ds.ConceptNameCodeSequence[0].CodeValue == "AI_NOT_PERFORMED"
    assert ds.SOPInstanceUID != notice.SOPInstanceUID
