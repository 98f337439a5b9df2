import shutil
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.entities import Patient
from imaging.findings import Algorithm
from imaging.header import header_of, read_dataset
from imaging.key_image import key_image
from imaging.notice import Languages, Notice, not_performed
from imaging.objects import encoded, reference_to
from imaging.reasons import reason
from imaging.seg import segmentation
from imaging.sr import measurement_report
from imaging.text import declared
from tests.builders import ALGORITHM, ct_series, mr_series, report_on

REASONS = (
    reason("MIXED_FRAME_OF_REFERENCE", count=2),
    reason("REGION", found="头", needed=("HEAD",)),
)
# chrSQEncoding has no SOP Instance UID: it never gets as far as a result.
SCRIPTS = (
    "chrArab", "chrFren", "chrFrenMulti", "chrGerm", "chrGreek", "chrH31", "chrH32", "chrI2",
    "chrJapMulti", "chrRuss", "chrX1", "chrX2", "c01_utf8_zh", "c02_gb18030_zh",
    "c03_latin1_declared_gb_bytes",
)  # fmt: skip


def made(
    source: Dataset, algorithm: Algorithm | None = ALGORITHM, language: Languages = "en"
) -> bytes:
    notice = Notice(
        reasons=REASONS,
        instances=(reference_to(header_of(source)),),
        algorithm=algorithm,
        result_key="key",
        created=datetime(2024, 2, 1, 9, 30, tzinfo=UTC),
        language=language,
    )
    return encoded(not_performed(notice, source, wetread_version="0.1.0"))


def said(data: bytes) -> list[str]:
    ds = dcmread(BytesIO(data))
    return [item.TextValue for item in ds.ContentSequence if item.ValueType == "TEXT"]


@pytest.mark.parametrize("language", ["en", "zh", "both"])
@pytest.mark.parametrize("algorithm", [ALGORITHM, None])
def test_conforms_and_is_repeatable(algorithm: Algorithm | None, language: Languages) -> None:
    (source, *_) = ct_series((3, 8, 8))
    assert problems(made(source, algorithm, language)) == ()
    assert made(source, algorithm, language) == made(source, algorithm, language)


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools' dciodvfy is not installed")
@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_the_whole_file_is_clean_for_dciodvfy(tmp_path: Path, language: Languages) -> None:
    (source, *_) = ct_series((3, 8, 8))
    path = tmp_path / "notice.dcm"
    path.write_bytes(made(source, language=language))
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
    complaints = [line for line in run.stderr.decode().splitlines() if line.startswith("Error")]
    assert (run.returncode, complaints) == (0, [])


def test_says_why_in_codes_and_words() -> None:
    (source, *_) = ct_series((3, 8, 8))
    ds = dcmread(BytesIO(made(source)))
    codes = [item.ConceptCodeSequence[0] for item in ds.ContentSequence
             if item.ConceptNameCodeSequence[0].CodeMeaning == "Reason"]  # fmt: skip
    assert [code.get("CodeValue") or code.LongCodeValue for code in codes] == [
        why.code for why in REASONS
    ]
    assert {code.CodingSchemeDesignator for code in codes} == {"99WETREAD"}
    sentences = said(made(source))
    assert "the series has 2 frames of reference." in sentences
    assert "Brain extraction analysis was not performed on 1 image(s)." in sentences
    assert declared(ds) == declared(source)


def test_says_it_in_chinese_beside_english() -> None:
    (source, *_) = ct_series((3, 8, 8))
    both, chinese_first = said(made(source, None, "both")), said(made(source, None, "zh"))
    assert sorted(both) == sorted(chinese_first)
    english, chinese = "the series has 2 frames of reference.", "该序列含有 2 个坐标参考系。"
    assert both.index(english) + 1 == both.index(chinese)
    assert chinese_first.index(chinese) + 1 == chinese_first.index(english)
    assert "未对 1 幅图像进行AI分析。" in both
    ds = dcmread(BytesIO(made(source, None, "both")))
    assert declared(ds) == ("ISO_IR 192",)
    marked = [item for item in ds.ContentSequence if not item.get("TextValue", "").isascii()]
    for item in marked:
        (modifier,) = item.ContentSequence
        assert modifier.RelationshipType == "HAS CONCEPT MOD"
        assert modifier.ConceptCodeSequence[0].CodeValue == "zh-CN"


def test_each_image_is_referenced_once_however_many_frames_it_has() -> None:
    (source, *_) = ct_series((3, 8, 8))
    reference = reference_to(header_of(source))
    notice = Notice(
        reasons=REASONS,
        instances=(reference, reference),
        algorithm=None,
        result_key="key",
        created=datetime(2024, 2, 1, 9, 30, tzinfo=UTC),
    )
    data = encoded(not_performed(notice, source, wetread_version="0.1.0"))
    assert problems(data) == ()
    assert "AI analysis was not performed on 1 image(s)." in said(data)


def test_opens_as_readable_text() -> None:
    (source, *_) = ct_series((3, 8, 8))
    ds = dcmread(BytesIO(made(source)))
    assert ds.ContinuityOfContent == "SEPARATE"
    assert ds.ConceptNameCodeSequence[0].CodeValue != "126000"
    assert all(item.ValueType != "IMAGE" for item in ds.ContentSequence)


def source_in(shared_data: Path, stem: str) -> Dataset:
    (path,) = (shared_data / "charsets").rglob(f"{stem}.dcm")
    return read_dataset(path)


@pytest.mark.parametrize("stem", SCRIPTS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_of_every_script_survive(shared_data: Path, stem: str, language: Languages) -> None:
    source = source_in(shared_data, stem)
    data = made(source_in(shared_data, stem), language=language)
    assert patient(read_dataset(data)) == patient(source)
    assert problems(data) == ()
    if language == "en":
        assert name_as_written(read_dataset(data)) == name_as_written(source)


@pytest.mark.parametrize("stem", SCRIPTS)
def test_names_of_every_script_survive_in_every_result(shared_data: Path, stem: str) -> None:
    source, mask = source_in(shared_data, stem), np.zeros((3, 8, 8), dtype=bool)
    mask[1, 2:5, 2:5] = True
    report = report_on(mr_series((3, 8, 8)), [mask])
    seg = segmentation(report, source, wetread_version="0.1.0")
    sr = measurement_report(report, source, segmentation=seg, wetread_version="0.1.0")
    plane = np.zeros((8, 8), dtype=np.float32)
    picture = key_image(
        report, source, plane=plane, index=1, window=(1.0, 2.0), wetread_version="0.1.0"
    )
    written, read = name_as_written(source), patient(source)
    for result in (seg, sr, picture):
        assert result is not None
        back = read_dataset(encoded(result))
        assert patient(back) == read
        assert name_as_written(back) == written


@pytest.mark.parametrize(
    ("term", "name"),
    [("latin1", "Jérôme".encode("latin_1")), ("", "王^小东".encode()), ("ISO_IR 192", b"\xcd\xf5")],
)
def test_a_broken_declaration_becomes_a_sound_one(
    shared_data: Path, term: str, name: bytes
) -> None:
    source = source_in(shared_data, "chrFren")
    source.SpecificCharacterSet = term
    source["PatientName"] = source.get_item("PatientName")._replace(value=name, length=len(name))
    data = made(source)
    assert problems(data) == ()
    ds = read_dataset(data)
    assert declared(ds) == ("ISO_IR 192",)
    assert patient(ds).name == patient(source).name != ""


def patient(ds: Dataset) -> Patient:
    return header_of(ds).patient


def name_as_written(ds: Dataset) -> bytes:
    """Empty component groups at the end say nothing (PS3.5 6.2.1.1)."""
    element = ds.get_item("PatientName")
    value = getattr(element.value, "original_string", element.value)
    return bytes(value).rstrip(b"= ")


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="DCMTK's dsrdump is not installed")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_dcmtk_reads_it(tmp_path: Path, language: Languages) -> None:
    (source, *_) = ct_series((3, 8, 8))
    path = tmp_path / "notice.dcm"
    path.write_bytes(made(source, language=language))
    run = subprocess.run(["dsrdump", str(path)], capture_output=True, check=True)
    assert "AI analysis not performed" in run.stdout.decode()
    assert ("该序列含有" in run.stdout.decode()) is (language == "zh")
