"""What every result object shares: whose it is, what made it, when, and its UIDs."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from io import BytesIO

from highdicom.sr import CodedConcept
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from imaging.codes import Code
from imaging.findings import Algorithm, ObjectRef, Report
from imaging.header import InstanceHeader
from imaging.identity import derived_uid
from imaging.text import in_utf_8, well_written

MANUFACTURER = "Wetread"
RESEARCH_ONLY = "Research use only, unverified"
_LONG_STRING = 64

# Attributes that must be present, even when empty (type 2), of the Patient (PS3.3 C.7.1.1) and
# General Study (C.7.2.1) modules.
REQUIRED_OF_SOURCE = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
OPTIONAL_OF_SOURCE = (
    "SpecificCharacterSet", "TimezoneOffsetFromUTC", "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "OtherPatientIDsSequence",
    "PatientBirthTime", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence",
    "PatientSexNeutered", "ResponsiblePerson", "ResponsiblePersonRole",
    "ResponsibleOrganization", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "PatientAge", "PatientSize",
    "PatientWeight", "StudyDescription", "IssuerOfAccessionNumberSequence", "ProcedureCodeSequence",
)  # fmt: skip
# Attributes that hang together in the Patient module (PS3.3 C.7.1.1).
_HOW_REMOVED = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
_SPECIES = ("PatientSpeciesDescription", "PatientSpeciesCodeSequence")
_OF_ANIMALS = (
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence",
    "ResponsiblePerson", "ResponsibleOrganization", "PatientSexNeutered",
)  # fmt: skip
_AGE = re.compile("[0-9]{3}[DWMY]")


class Kind(Enum):
    """What a result object is; the value is its series number."""

    SEGMENTATION = 9001
    MEASUREMENTS = 9002
    KEY_IMAGE = 9003
    NOTICE = 9004
    ASSESSMENT = 9005
    REJECTION = 9006
    TEXT = 9007


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The identity of one result object and of what made it."""

    kind: Kind
    result_key: str
    created: datetime
    algorithm: Algorithm | None
    wetread_version: str

    @property
    def instance_uid(self) -> str:
        """SOP Instance UID."""
        return self.uid("instance")

    @property
    def series_uid(self) -> str:
        """Series Instance UID: one series per object; viewers show only the newest of a series."""
        return self.uid("series")

    def uid(self, *what: str) -> str:
        """Any other UID that belongs to the object."""
        return derived_uid(self.result_key, self.kind.name, *what)


def stamp_of(report: Report, kind: Kind, wetread_version: str) -> Stamp:
    """Return the stamp of an object of `report`."""
    return Stamp(
        kind=kind,
        result_key=report.result_key,
        created=report.created,
        algorithm=report.algorithm,
        wetread_version=wetread_version,
    )


def finished(
    made: Dataset, source: Dataset, stamp: Stamp, *, description: str, in_any_script: bool = False
) -> Dataset:
    """Return `made` as a complete instance in the study of `source`, Explicit VR Little Endian.

    Patient and study are copied as they were received; times are `stamp.created` in the time zone
    that the source declares. Where `made` says something `in_any_script`, or the character set of
    the source is none or does not hold its text, the same text is written in UTF-8.
    """
    ds = Dataset()
    ds.update(made)
    tags = [Tag(keyword) for keyword in (*REQUIRED_OF_SOURCE, *OPTIONAL_OF_SOURCE)]
    rewrite = in_any_script or not well_written(source, tags)
    _place_in_study(ds, in_utf_8(source, tags) if rewrite else source)
    _mend_optional(ds)
    ds.StudyInstanceUID = source.StudyInstanceUID
    _date(ds, in_zone_of(source, stamp.created))
    ds.SOPInstanceUID, ds.SeriesInstanceUID = stamp.instance_uid, stamp.series_uid
    ds.SeriesNumber, ds.InstanceNumber = stamp.kind.value, 1
    ds.SeriesDescription = line(description)
    _equip(ds, stamp)
    _rename_dimensions(ds, stamp)
    ds.file_meta = _file_meta(ds, stamp)
    return ds


def encoded(ds: Dataset) -> bytes:
    """Return the Part 10 file of a finished object."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def reference_to(header: InstanceHeader) -> ObjectRef:
    """Return the reference to an instance."""
    return ObjectRef(
        sop_class_uid=header.sop_class_uid,
        instance_uid=header.instance_uid,
        series_uid=header.series.series_uid,
        study_uid=header.study.study_uid,
    )


def referenced(ref: ObjectRef) -> Dataset:
    """Return the item that refers to an instance (PS3.3 10.3)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ref.sop_class_uid, ref.instance_uid
    return item


def refer(item: Dataset, header: InstanceHeader) -> None:
    """Let `item` refer to an image: an instance, or one frame of it."""
    item.update(referenced(reference_to(header)))
    if header.frame is not None:
        item.ReferencedFrameNumber = header.frame + 1


def stand_in(ref: ObjectRef) -> Dataset:
    """Return the least data set that highdicom takes for a referenced instance.

    Patient and study are blank here: `finished` copies them from the source.
    """
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = ref.sop_class_uid, ref.instance_uid
    ds.SeriesInstanceUID, ds.StudyInstanceUID = ref.series_uid, ref.study_uid
    for keyword in REQUIRED_OF_SOURCE:
        setattr(ds, keyword, None)
    return ds


def coded(code: Code) -> CodedConcept:
    """Return `code` for highdicom."""
    return CodedConcept(code.value, code.scheme, line(code.meaning))


def line(text: str, limit: int = _LONG_STRING) -> str:
    """Return `text` as one LO value for any character set: ASCII, no backslash, cut to `limit`."""
    plain = " ".join(words(text).replace("\\", "/").split())
    return plain if len(plain) <= limit else plain[: limit - 3].rstrip() + "..."


def words(text: str) -> str:
    """Return `text` in ASCII, the one repertoire that every Specific Character Set contains."""
    return text.encode("ascii", "replace").decode("ascii")


def _place_in_study(ds: Dataset, source: Dataset) -> None:
    for keyword in (*REQUIRED_OF_SOURCE, *OPTIONAL_OF_SOURCE):
        tag = Tag(keyword)
        if tag in source:
            ds[tag] = source.get_item(tag)
        elif keyword in REQUIRED_OF_SOURCE:
            setattr(ds, keyword, None)
        else:
            ds.pop(keyword, None)


def _mend_optional(ds: Dataset) -> None:
    """Leave out what the source need not say and says wrongly, and add what an animal's must have.

    The rest is the sender's, right or wrong: a result must match the study it belongs to.
    """
    for tag in map(Tag, OPTIONAL_OF_SOURCE):
        if tag in ds and ds.get_item(tag).value in (None, b"", "", []):  # bytes stay as written
            del ds[tag]
    if not _AGE.fullmatch(str(ds.get("PatientAge", ""))):
        ds.pop("PatientAge", None)
    if not any(keyword in ds for keyword in _HOW_REMOVED):
        ds.pop("PatientIdentityRemoved", None)
    if any(keyword in ds for keyword in _SPECIES):
        for keyword in _OF_ANIMALS:
            if keyword not in ds:
                setattr(ds, keyword, None)


def in_zone_of(source: Dataset, moment: datetime) -> datetime:
    """Timezone Offset From UTC governs every time of an instance, the copied study time too."""
    offset = str(source.get("TimezoneOffsetFromUTC") or "")
    digits = offset.lstrip("+-")
    if len(digits) != len("hhmm") or not digits.isdecimal():
        return moment
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return moment.astimezone(timezone(-ahead if offset.startswith("-") else ahead))


def _date(ds: Dataset, moment: datetime) -> None:
    date, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
    ds.ContentDate = ds.SeriesDate = ds.InstanceCreationDate = date
    ds.ContentTime = ds.SeriesTime = ds.InstanceCreationTime = time


def _equip(ds: Dataset, stamp: Stamp) -> None:
    """General Equipment and, as IHE AI Results asks, the algorithm as contributing equipment."""
    ds.Manufacturer = ds.ManufacturerModelName = MANUFACTURER
    ds.SoftwareVersions = line(stamp.wetread_version)
    ds.pop("ContributingEquipmentSequence", None)
    if stamp.algorithm is None:
        return
    ds.DeviceSerialNumber = line(stamp.algorithm.device_uid)
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [
        coded(Code("109102", "DCM", "Processing Equipment")),  # CID 7005
    ]
    item.Manufacturer = line(stamp.algorithm.manufacturer)
    item.ManufacturerModelName = line(stamp.algorithm.name)
    item.SoftwareVersions = line(stamp.algorithm.version)
    item.DeviceUID = stamp.algorithm.device_uid
    item.ContributionDateTime = stamp.created.strftime("%Y%m%d%H%M%S.%f%z")
    item.ContributionDescription = "Processing Algorithm"
    ds.ContributingEquipmentSequence = [item]


def _rename_dimensions(ds: Dataset, stamp: Stamp) -> None:
    """Replace the random UID that highdicom gives the dimension organization (PS3.3 C.7.6.17)."""
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in ds.get(keyword, ()):
            item.DimensionOrganizationUID = stamp.uid("dimensions")


def _file_meta(ds: Dataset, stamp: Stamp) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derived_uid("implementation"))
    meta.ImplementationVersionName = line(f"WETREAD {stamp.wetread_version}", limit=16)
    return meta
