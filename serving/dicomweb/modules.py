"""Which attributes belong to a patient, a study and a series (PS3.3 C.7.1 to C.7.3, C.7.5)."""

from pydicom.datadict import tag_for_keyword

from imaging.dicom_json import hex_tag

_STUDY = """
    SpecificCharacterSet TimezoneOffsetFromUTC StudyDate StudyTime AccessionNumber
    IssuerOfAccessionNumberSequence ReferringPhysicianName ReferringPhysicianIdentificationSequence
    ConsultingPhysicianName StudyDescription ProcedureCodeSequence PhysiciansOfRecord
    NameOfPhysiciansReadingStudy AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence
    ReferencedStudySequence PatientName PatientID IssuerOfPatientID
    IssuerOfPatientIDQualifiersSequence TypeOfPatientID PatientBirthDate PatientBirthTime PatientSex
    OtherPatientIDs OtherPatientIDsSequence OtherPatientNames PatientAge PatientSize PatientWeight
    EthnicGroup Occupation AdditionalPatientHistory PregnancyStatus PatientComments
    PatientIdentityRemoved DeidentificationMethod StudyInstanceUID StudyID AdmissionID
    ReasonForVisit RequestingService ServiceEpisodeID PatientSpeciesDescription
    ResponsiblePerson ResponsibleOrganization
"""
_SERIES = """
    SeriesDate SeriesTime Modality SeriesDescription SeriesDescriptionCodeSequence Manufacturer
    InstitutionName InstitutionAddress StationName InstitutionalDepartmentName
    PerformingPhysicianName OperatorsName ManufacturerModelName
    ReferencedPerformedProcedureStepSequence
    BodyPartExamined ProtocolName PatientPosition DeviceSerialNumber SoftwareVersions
    AnatomicalOrientationType SeriesInstanceUID SeriesNumber Laterality FrameOfReferenceUID
    PositionReferenceIndicator PerformedProcedureStepID PerformedProcedureStepStartDate
    PerformedProcedureStepStartTime PerformedProcedureStepDescription PerformedProtocolCodeSequence
    RequestAttributesSequence CommentsOnThePerformedProcedureStep ClinicalTrialSeriesID
"""


def _tags(keywords: str) -> frozenset[str]:
    tags = (tag_for_keyword(keyword) for keyword in keywords.split())
    return frozenset(hex_tag(tag) for tag in tags if tag is not None)


STUDY_TAGS, SERIES_TAGS = _tags(_STUDY), _tags(_SERIES)
