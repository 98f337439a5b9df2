"""Nothing that says who somebody is leaves with a de-identified instance."""

import base64
import re
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import DataElement, Dataset, dcmread
from pydicom.tag import Tag

from imaging.confidentiality_table import ACTIONS
from imaging.deidentified_values import words_of
from imaging.deidentify import Deidentifier
from imaging.errors import SetupError
from imaging.identity_check import identities_of, leaks
from imaging.pseudonyms import Pseudonyms, Secret, kept_pseudonyms
from imaging.reasons import Reason
from tests.builders import mr_series, save

PSEUDONYMS = Pseudonyms(secret=Secret(b"k" * 32))
ONE = Deidentifier(pseudonyms=PSEUDONYMS, patient_id="4711-SECRET")


def image(**header: object) -> Dataset:
    (made,) = mr_series((1, 6, 7))
    made.PatientName, made.PatientID = "Zaphodovic^Quentin", "4711-SECRET"
    made.PatientBirthDate, made.PatientTelephoneNumbers = "19631128", "0555-867-5309"
    for keyword, value in header.items():
        setattr(made, keyword, value)
    return made


def given_away(made: Dataset, folder: Path, by: Deidentifier = ONE) -> Dataset:
    (path,) = save([made], folder)
    out = by.instance(path)
    assert isinstance(out, bytes)
    assert not leaks(out, identities_of(made))
    return dcmread(BytesIO(out))


def test_what_identifies_goes_and_what_training_wants_stays(tmp_path):
    made = image(
        SeriesDescription="AX T1 MPRAGE Zaphodovic 28.11.1963",
        PatientSex="F",
        PatientAge="093Y",
        Manufacturer="SIEMENS",
        InstitutionName="St Elsewhere",
    )
    clean = given_away(made, tmp_path)
    assert clean.SeriesDescription == "AX T1 MPRAGE"
    assert (clean.PatientSex, clean.PatientAge, clean.Manufacturer) == ("F", "090Y", "SIEMENS")
    assert clean.PatientName == clean.PatientID == PSEUDONYMS.patient("4711-SECRET")
    assert not clean.PatientBirthDate
    assert clean.PatientIdentityRemoved == "YES"
    assert clean.LongitudinalTemporalInformationModified == "MODIFIED"
    methods = {item.CodeValue for item in clean.DeidentificationMethodCodeSequence}
    assert methods == {"113100", "113104", "113105", "113107", "113108"}
    assert clean.ImagePositionPatient == made.ImagePositionPatient
    np.testing.assert_array_equal(clean.pixel_array, made.pixel_array)


def test_dates_move_together_and_references_still_point_at_the_same(tmp_path):
    first = image(StudyDate="20240105", FrameOfReferenceUID="1.2.3.4")
    second = image(StudyDate="20240302", FrameOfReferenceUID="1.2.3.4")
    a, b = given_away(first, tmp_path / "a"), given_away(second, tmp_path / "b")

    def day(text: str) -> date:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))

    assert (day(b.StudyDate) - day(a.StudyDate)).days == 57
    assert a.StudyDate != "20240105"
    assert a.FrameOfReferenceUID == b.FrameOfReferenceUID != "1.2.3.4"
    assert PSEUDONYMS.uid("1.2.3.4") != Pseudonyms(secret=Secret(b"x" * 32)).uid("1.2.3.4")


def test_a_harmless_word_goes_where_it_is_the_name_of_the_patient(tmp_path):
    words = words_of(["Titan^Rose"])
    by = Deidentifier(pseudonyms=PSEUDONYMS, patient_id="4711-SECRET", forbidden=words)
    clean = given_away(image(SeriesDescription="TITAN BRAIN T2"), tmp_path, by)
    assert clean.SeriesDescription == "BRAIN T2"


def test_a_number_that_is_the_patients_id_goes_and_what_is_required_stays_empty(tmp_path):
    made = image(PatientID="12345", SeriesNumber=12345, Manufacturer="Zaphodovic Devices")
    by = Deidentifier(pseudonyms=PSEUDONYMS, patient_id="12345")
    clean = given_away(made, tmp_path, by)
    assert "SeriesNumber" in clean
    assert clean.SeriesNumber is None
    assert clean.Manufacturer == ""


def test_codes_keep_their_value_and_get_the_words_of_the_standard(tmp_path):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = "12738006", "SCT"
    item.CodeMeaning = "Brain of Zaphodovic"
    made = image(AnatomicRegionSequence=[item])
    clean = given_away(made, tmp_path)
    assert clean.AnatomicRegionSequence[0].CodeMeaning.startswith("Brain structure")


@pytest.mark.parametrize(
    "header",
    [
        {"BurnedInAnnotation": "YES"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    ],
)
def test_pixels_that_may_show_a_name_are_refused(tmp_path, header):
    (path,) = save([image(**header)], tmp_path)
    found = ONE.instance(path)
    assert isinstance(found, Reason)
    assert found.code == "MAY_SHOW_IDENTITY"


def test_every_attribute_that_the_profile_removes_or_replaces_loses_its_value():
    made = image()
    planted = 0
    for tag, action in ACTIONS.items():
        element = _planted(Tag(tag), "SECRETVALUE")
        if element is not None and action != "K":
            made[tag] = element
            planted += 1
    assert planted > 300
    assert "SECRETVALUE" not in str(ONE.dataset(made))


SECRETS = (
    "Zaphodovic",
    "Quentin",
    "Zaphodovic^Quentin",
    "4711-SECRET",
    "19631128",
    "0555-867-5309",
    "5558675309",
    "王小东",
    "Wang^XiaoDong=王^小东",
    "山田太郎",
    "Иванов",
)
KEPT = """
    Manufacturer ConvolutionKernel BodyPartExamined SequenceName ImageType TextValue
    LossyImageCompressionMethod PatientSex SliceThickness SeriesNumber EchoTime RescaleType
    ScanOptions ContrastBolusRoute PatientAge StudyDate StudyDescription CodeMeaning CodeValue
"""
NAMED = {int(Tag(keyword)) for keyword in KEPT.split()}
TAGS = sorted({tag for tag in ACTIONS if tag > 0x0008_0000} | NAMED)
SEQUENCES = ("ReferencedImageSequence", "ContentSequence", "ViewCodeSequence")
FORMS = ("{}", "pat. {} T1", '{{"name": "{}"}}', "<n>{}</n>", "{}, 3 mm")
KEEP_WHOLE = {  # else unreadable
    Tag(k)
    for k in ("SpecificCharacterSet", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
}
VRS = ("LO", "UT", "PN", "SH", "CS", "UN", "OB", "DS", "UI", "DA")
PLACES = ("known", "private", "UN", "overlay", "padding", "unknown")


def _planted(tag: Tag, text: str, vr: str = "") -> DataElement | None:
    from pydicom.datadict import dictionary_VR  # noqa: PLC0415

    try:
        vr = vr or dictionary_VR(tag)
        return DataElement(tag, vr, text) if vr not in {"SQ"} and " " not in vr else None
    except Exception:  # noqa: BLE001 - a value that this representation cannot hold
        return None


def _element(draw: st.DrawFn, said: str, raw: bytes) -> DataElement:
    place = draw(st.sampled_from(PLACES))
    if place == "known":
        vr = draw(st.sampled_from(VRS))
        value = raw if vr in {"UN", "OB"} else said
        try:
            return DataElement(Tag(draw(st.sampled_from(TAGS))), vr, value)
        except (ValueError, TypeError):
            return DataElement(Tag("SeriesDescription"), "LO", said)
    return {
        "private": DataElement(Tag(0x0029, 0x0010), "LO", said),
        "UN": DataElement(Tag(0x0018, 0x1030), "UN", raw),
        "overlay": DataElement(Tag(0x6000, 0x0022), "LO", said),
        "padding": DataElement(Tag(0xFFFC, 0xFFFC), "OB", raw),
        "unknown": DataElement(Tag(0x0018, 0x0001), "LO", said),
    }[place]


@st.composite
def hostile(draw: st.DrawFn) -> tuple[Dataset, bytes, str]:
    made, secret = image(), draw(st.sampled_from(SECRETS))
    made.SpecificCharacterSet = "ISO_IR 192"
    said = draw(st.sampled_from(FORMS)).format(secret)
    if draw(st.booleans()):
        said = base64.b64encode(said.encode()).decode()
    target = made
    for keyword in draw(st.lists(st.sampled_from(SEQUENCES), max_size=3)):
        item = Dataset()
        target.add_new(Tag(keyword), "SQ", [item])
        target = item
    raw = said.encode() + b" " * (len(said.encode()) % 2)
    element = _element(draw, said, raw)
    if element.tag not in KEEP_WHOLE:
        target.add(element)
    return made, draw(st.sampled_from([b"", raw])), secret


@settings(max_examples=150, derandomize=True, deadline=None)
@given(hostile())
def test_a_secret_planted_anywhere_does_not_remain(tmp_path_factory, case):
    made, trailing, secret = case
    folder = tmp_path_factory.mktemp("hostile")
    made.preamble = secret.encode()[:128].ljust(128, b"\0")
    (path,) = save([made], folder)
    with path.open("ab") as file:
        file.write(trailing)
    out = ONE.instance(path)
    if isinstance(out, Reason):
        return
    for piece in re.split(r"[\^=]", secret):
        for encoding in ("utf-8", "gb18030", "utf-16-le", "cp1251"):
            try:
                assert piece.encode(encoding) not in out
            except UnicodeEncodeError:
                continue
    assert base64.b64encode(secret.encode())[:12] not in out


def test_the_check_finds_what_is_left(tmp_path):
    made = image(SeriesDescription="t1 of zaphodovic")
    (path,) = save([made], tmp_path)
    found = {leak.keyword for leak in leaks(path.read_bytes(), identities_of(made))}
    assert {"PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID"} <= found
    made.PatientName = "王^小东"
    made.SpecificCharacterSet = "GB18030"
    (path,) = save([made], tmp_path / "zh")
    assert "PatientName" in {k.keyword for k in leaks(path.read_bytes(), identities_of(made))}


def test_the_key_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "keys" / "dataset.key"
    first = kept_pseudonyms(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_pseudonyms(path) == first != PSEUDONYMS
    assert path.read_text().strip() not in repr(first)
    path.chmod(0o644)
    with pytest.raises(SetupError, match="others"):
        kept_pseudonyms(path)
