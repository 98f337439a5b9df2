import os
import shutil
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from imaging.conformance import problems
from imaging.findings import Algorithm
from imaging.header import header_of, read_dataset
from imaging.notice import Notice, not_performed
from imaging.objects import encoded, reference_to
from imaging.reasons import Reason
from tests.builders import ALGORITHM, ct_series

DATA = Path(os.environ.get("WETREAD_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
# chrSQEncoding has no SOP Instance UID: it never gets as far as a notice.
NAMES = sorted(path for path in (DATA / "charsets").rglob("*.dcm") if path.stem != "chrSQEncoding")
REASONS = (
    Reason(code="MIXED_FRAME_OF_REFERENCE", text="the series has 2 frames of reference"),
    Reason(code="REGION", text="body region is 头; HEAD is needed"),
)


def made(source: Dataset, algorithm: Algorithm | None = ALGORITHM) -> bytes:
    notice = Notice(
        reasons=REASONS,
        instances=(reference_to(header_of(source)),),
        algorithm=algorithm,
        result_key="key",
        created=datetime(2024, 2, 1, 9, 30, tzinfo=UTC),
    )
    return encoded(not_performed(notice, source, wetread_version="0.1.0"))


@pytest.mark.parametrize("algorithm", [ALGORITHM, None])
def test_conforms_and_is_repeatable(algorithm: Algorithm | None) -> None:
    (source, *_) = ct_series((3, 8, 8))
    assert problems(made(source, algorithm)) == ()
    assert made(source, algorithm) == made(source, algorithm)


def test_says_why_in_codes_and_words() -> None:
    (source, *_) = ct_series((3, 8, 8))
    ds = dcmread(BytesIO(made(source)))
    codes = [item.ConceptCodeSequence[0] for item in ds.ContentSequence
             if item.ConceptNameCodeSequence[0].CodeMeaning == "Reason"]  # fmt: skip
    assert [code.get("CodeValue") or code.LongCodeValue for code in codes] == [
        reason.code for reason in REASONS
    ]
    said = [item.TextValue for item in ds.ContentSequence if item.ValueType == "TEXT"]
    assert "the series has 2 frames of reference." in said
    assert "Brain extraction analysis was not performed on 1 image(s)." in said


def test_opens_as_readable_text() -> None:
    (source, *_) = ct_series((3, 8, 8))
    ds = dcmread(BytesIO(made(source)))
    assert ds.ContinuityOfContent == "SEPARATE"
    assert ds.ConceptNameCodeSequence[0].CodeValue != "126000"
    assert all(item.ValueType != "IMAGE" for item in ds.ContentSequence)


@pytest.mark.skipif(not NAMES, reason="the character set test data are absent")
@pytest.mark.parametrize("path", NAMES, ids=lambda path: path.stem)
def test_names_of_every_script_survive(path: Path) -> None:
    source = read_dataset(path)
    written = _name_as_written(source)
    data = made(source)
    ds = read_dataset(data)
    assert _name_as_written(ds) == written
    assert ds.PatientName == source.PatientName
    assert problems(data) == ()


def _name_as_written(ds: Dataset) -> bytes:
    """Empty component groups at the end say nothing (PS3.5 6.2.1.1)."""
    return bytes(ds.get_item("PatientName").value).rstrip(b"= ")


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="DCMTK's dsrdump is not installed")
def test_dcmtk_reads_it(tmp_path: Path) -> None:
    (source, *_) = ct_series((3, 8, 8))
    path = tmp_path / "notice.dcm"
    path.write_bytes(made(source))
    run = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, check=True)
    assert "AI analysis not performed" in run.stdout
