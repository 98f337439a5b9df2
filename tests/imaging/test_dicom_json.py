import json
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from imaging.dicom_json import Bulk, Place, json_of
from imaging.errors import InputError
from imaging.header import read_dataset
from tests.dicom_node.rig import image, part10


def told(ds: Dataset, syntax: str = "1.2.840.10008.1.2.1") -> dict[str, object]:
    return json_of(read_dataset(part10(ds, syntax)))


def test_numbers_are_numbers_and_text_that_is_none_stays_text():
    ds = image(SliceThickness="1.50", InstanceNumber="7", RescaleSlope="1e2")
    file = part10(ds).replace(b"1.50", b"abcd").replace(b"1e2 ", b"NaN ")
    found = json_of(read_dataset(file))
    assert found["00180050"] == {"vr": "DS", "Value": ["abcd"]}
    assert found["00281053"] == {"vr": "DS", "Value": ["NaN"]}
    assert found["00200013"] == {"vr": "IS", "Value": [7]}
    assert found["00280010"] == {"vr": "US", "Value": [16]}
    json.dumps(found, allow_nan=False)


def test_floats_that_json_cannot_write_are_text():
    ds = image()
    ds.add_new(0x00189073, "FD", [float("nan"), float("inf"), -float("inf"), 1.5])
    assert told(ds)["00189073"]["Value"] == ["NaN", "inf", "-inf", 1.5]


def test_what_is_empty_has_no_value():
    ds = image(AccessionNumber="", ImageType=["ORIGINAL", "", "AXIAL"])
    assert told(ds)["00080050"] == {"vr": "SH"}
    assert told(ds)["00080008"]["Value"] == ["ORIGINAL", None, "AXIAL"]


def test_names_and_text_in_any_character_set():
    ds = image(SpecificCharacterSet="GB18030", PatientName="Wang^XiaoDong=王^小东")
    found = told(ds)
    assert found["00100010"]["Value"] == [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}]
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_sequences_and_values_whose_representation_depends(syntax: str):
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-D1100", "Head"
    ds = image(PixelRepresentation=1, ProcedureCodeSequence=[item])
    ds.add_new(0x00280120, "SS", -2000)
    found = told(ds, syntax)
    assert found["00280120"] == {"vr": "SS", "Value": [-2000]}
    inner = found["00081032"]["Value"][0]
    assert inner["00080104"] == {"vr": "LO", "Value": ["Head"]}
    assert "7FE00010" not in found


def test_binary_values_are_inline_when_small_and_addressed_when_large(tmp_path: Path):
    ds = image()
    ds.add_new(0x00091001, "OB", b"\1\2\3\4")
    ds.add_new(0x00420011, "OB", b"pdf!" * 400)
    file = tmp_path / "one.dcm"
    file.write_bytes(part10(ds))
    bulk = Bulk(address=lambda tag: f"/bulk/{tag}")
    found = json_of(read_dataset(file), bulk)
    assert found["00091001"] == {"vr": "OB", "InlineBinary": "AQIDBA=="}
    assert found["00420011"] == {"vr": "OB", "BulkDataURI": "/bulk/00420011"}
    place = bulk.places["00420011"]
    assert file.read_bytes()[place.offset : place.offset + place.length] == b"pdf!" * 400
    assert bulk.places == {"00420011": Place(offset=place.offset, length=1600)}


def test_pydicom_reads_the_same_values_back():
    ds = image(PatientAge="054Y", PixelSpacing=[0.5, 0.25], FrameIncrementPointer=0x00181063)
    ds.add_new(0x00091002, "UN", b"private")
    again = Dataset.from_json(told(ds))
    source = dcmread(BytesIO(part10(ds)), stop_before_pixels=True)
    assert list(again) == list(source)


def test_whatever_real_files_hold_is_told(shared_data: Path):
    count = 0
    for path in sorted(shared_data.rglob("*.dcm"))[::5]:
        try:
            ds = read_dataset(path)
        except InputError:  # damaged on purpose
            continue
        count += 1
        json.dumps(json_of(ds), allow_nan=False)
    assert count > 20
