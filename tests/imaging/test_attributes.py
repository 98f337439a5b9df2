"""Values of attributes, read quickly from their bytes, are those that pydicom gives."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from imaging.attributes import texts, value_of
from imaging.errors import MalformedInstance, NotDicom
from imaging.header import read_dataset

PLAIN = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "US"}
KEYWORDS = {
    "AE": "StationAETitle", "AS": "PatientAge", "CS": "ImageType", "DA": "StudyDate",
    "DS": "ImagePositionPatient", "DT": "AcquisitionDateTime", "IS": "InstanceNumber",
    "TM": "StudyTime", "UI": "SOPInstanceUID", "US": "Rows",
}  # fmt: skip


def converted(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """The values as pydicom converts them."""
    value = value_of(ds, keyword)
    if value is None:
        return ()
    values = value if isinstance(value, (list, tuple, MultiValue)) else [value]
    return tuple(str(v).strip(" \0") for v in values)


def arrived(keyword: str, raw: bytes, vr: str | None, *, little: bool) -> Dataset:
    """A data set as a parser leaves it, with one value not yet converted."""
    tag = Tag(keyword)
    return Dataset({tag: RawDataElement(tag, vr, len(raw), raw, 0, vr is None, little)})


def headers_in(folder: Path) -> Iterator[tuple[Dataset, Dataset]]:
    """Each readable file's data set, twice."""
    for path in sorted(folder.rglob("*.dcm")):
        with suppress(NotDicom, MalformedInstance):  # refused before any value is read
            yield read_dataset(path), read_dataset(path)


def test_every_value_in_real_and_broken_files_is_the_one_of_pydicom(shared_data: Path) -> None:
    compared = 0
    for ours, theirs in headers_in(shared_data):
        raw = [tag for tag, element in ours.items() if isinstance(element, RawDataElement)]
        for keyword in filter(None, map(keyword_for_tag, raw)):
            expected = converted(theirs, keyword)
            if theirs[keyword].VR in PLAIN:
                assert texts(ours, keyword) == expected, keyword
                compared += 1
    assert compared > 1000


@given(
    st.sampled_from(sorted(KEYWORDS)),
    st.booleans(),
    st.booleans(),
    st.one_of(
        st.binary(min_size=1, max_size=24),
        st.text("0123456789+-.eE \\\0\t\nAnif", min_size=1, max_size=24).map(str.encode),
    ),
)
@example(vr="IS", implicit=False, little=True, raw=b"1.5 ")
@example(vr="IS", implicit=False, little=True, raw=b"1e400")
@example(vr="DS", implicit=True, little=True, raw=b"1\\abc")
@example(vr="DS", implicit=False, little=True, raw=b"\\\\0")
@example(vr="UI", implicit=False, little=True, raw=b"1.2\0\\3\0")
@example(vr="US", implicit=False, little=False, raw=b"\x02\x00")
@example(vr="CS", implicit=False, little=True, raw=b"A\\ \\\t")
def test_any_bytes_are_read_as_pydicom_reads_them(
    vr: str, implicit: bool, little: bool, raw: bytes
) -> None:
    keyword, written = KEYWORDS[vr], None if implicit else vr
    expected = converted(arrived(keyword, raw, written, little=little), keyword)
    assert texts(arrived(keyword, raw, written, little=little), keyword) == expected
