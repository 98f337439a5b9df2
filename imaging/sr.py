"""A report as a DICOM structured report: TID 1500 Measurement Report (PS3.16), Comprehensive 3D SR.

Groups with an outline on a key slice come first: a widely used viewer draws only those and stays
black when a group without coordinates leads.
"""

from collections.abc import Iterator
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr import Measurement as MeasurementItem
from highdicom.sr import MeasurementReport as MeasurementReportContent
from highdicom.sr import MeasurementsAndQualitativeEvaluations as FindingGroup
from pydicom import Dataset

from imaging import codes
from imaging.codes import Code
from imaging.errors import ObjectInvalid
from imaging.findings import ClassProbability, Finding, Report, Segment
from imaging.header import InstanceHeader
from imaging.key_slice import slice_of
from imaging.objects import (
    MANUFACTURER,
    RESEARCH_ONLY,
    Kind,
    coded,
    finished,
    line,
    reference_to,
    stamp_of,
    stand_in,
    words,
)
from imaging.outline import outlines

_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
_COMMENT = Code("121106", "DCM", "Comment")
_FINDING = Code("121071", "DCM", "Finding")
_DEVICE = Code("121007", "DCM", "Device")
_QUALITATIVE = Code("C0034375", "UMLS", "Qualitative Evaluations")
_PROCEDURES = {
    "CT": Code("77477000", "SCT", "Computed tomography"),
    "MR": Code("113091000", "SCT", "Magnetic resonance imaging"),
}
_IMAGING = Code("363679005", "SCT", "Imaging procedure")
_SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."

_Group = (
    FindingGroup
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
)


def measurement_report(
    report: Report, source: Dataset, *, segmentation: Dataset | None, wetread_version: str
) -> Dataset:
    """Return every finding of `report` as a TID 1500 document in the study of `source`.

    `segmentation` is the object of `imaging.seg` that holds the report's segments, ``None`` when
    there is none; findings then have no regions.
    """
    stamp = stamp_of(report, Kind.MEASUREMENTS, wetread_version)
    read = (*report.instances, *report.beside)
    sources = dict.fromkeys(map(reference_to, read))  # frames share their instance
    evidence = [stand_in(ref) for ref in sources]
    if segmentation is not None:
        evidence.append(segmentation)
    made = Comprehensive3DSR(
        evidence=evidence,
        content=_content(report, source, segmentation),
        series_instance_uid=stamp.series_uid,
        series_number=stamp.kind.value,
        sop_instance_uid=stamp.instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        previous_versions=[
            stand_in(ref)
            for ref in report.predecessors
            if ref.sop_class_uid.startswith(_SR_CLASSES)  # only documents precede documents
        ]
        or None,
    )
    return finished(made, source, stamp, description=f"Wetread {report.algorithm.name} SR")


def _content(report: Report, source: Dataset, segmentation: Dataset | None) -> Dataset:
    if not report.findings:
        msg = "a report without findings cannot be encoded"
        raise ObjectInvalid(msg)
    groups = [*_planar_groups(report, segmentation), *_finding_groups(report, segmentation)]
    content = MeasurementReportContent(
        observation_context=_observer(report),
        procedure_reported=_procedure(report, source),
        imaging_measurements=groups,
        title=coded(_TITLE),
    )
    root: Dataset = content[0]
    root.ContentSequence.append(_in_words(report))
    _separate(root)
    return root


def _observer(report: Report) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=report.algorithm.device_uid,
        name=line(report.algorithm.title),
        manufacturer_name=line(report.algorithm.manufacturer),
        model_name=line(report.algorithm.name),
    )
    return ObservationContext(observer_device_context=ObserverContext(coded(_DEVICE), device))


def _procedure(report: Report, source: Dataset) -> CodedConcept:
    """Return the performed procedure as the source codes it, else by modality."""
    for item in source.get("ProcedureCodeSequence") or ():
        parts = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
        value, scheme, meaning = (str(item.get(part) or "") for part in parts)
        if value and scheme and meaning and (value + scheme + meaning).isascii():
            return coded(Code(value, scheme, meaning))
    return coded(_PROCEDURES.get(report.instances[0].series.modality, _IMAGING))


def _in_words(report: Report) -> ContainerContentItem:
    """Return what a reader must know beside the findings (TID 1500 rows 12 to 14)."""
    algorithm = report.algorithm
    sentences = (
        f"{RESEARCH_ONLY}.",
        f"{algorithm.title} ({algorithm.name} {algorithm.version}, {algorithm.manufacturer}).",
        f"Package digest {algorithm.digest}, settings digest {algorithm.settings_digest}.",
        *(f"{note.text} ({note.code})" for note in report.notes),
    )
    container = ContainerContentItem(
        coded(_QUALITATIVE), relationship_type=RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence([_comment(sentence) for sentence in sentences])
    return container


def _planar_groups(report: Report, segmentation: Dataset | None) -> Iterator[_Group]:
    """TID 1410: the outline of each segment's largest part on its key slice."""
    for finding in report.findings:
        segment = _segment_of(finding, report, segmentation)
        if segment is None:
            continue
        index = slice_of(finding, report)
        image = report.instances[index]
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            **_shared(finding, report),
            referenced_region=ImageRegion(
                GraphicTypeValues.POLYLINE,
                outlines(segment.mask[index])[0] + _first_pixel(image),
                SourceImageForRegion(image.sop_class_uid, image.instance_uid, _frames(image)),
            ),
        )


def _first_pixel(header: InstanceHeader) -> tuple[int, int]:
    """Return (column, row) of the slice's first pixel in its image: not 0 in a mosaic."""
    return (header.tile.column, header.tile.row) if header.tile else (0, 0)


def _frames(header: InstanceHeader) -> list[int] | None:
    return None if header.frame is None else [header.frame + 1]


def _finding_groups(report: Report, segmentation: Dataset | None) -> Iterator[_Group]:
    """TID 1411 for a finding with a region, TID 1501 for any other."""
    for finding in report.findings:
        segment = _segment_of(finding, report, segmentation)
        shared = {**_shared(finding, report), "measurements": _measurements(finding) or None}
        group: _Group
        if segment is None or segmentation is None:
            group = FindingGroup(**shared, source_images=_evidence(finding, report) or None)
        else:
            region = ReferencedSegment(
                segmentation.SOPClassUID,
                segmentation.SOPInstanceUID,
                segment.number,
                source_series=SourceSeriesForSegmentation(report.instances[0].series.series_uid),
            )
            group = VolumetricROIMeasurementsAndQualitativeEvaluations(
                **shared, referenced_segment=region
            )
        group[0].ContentSequence.extend(_statements(finding))
        yield group


def _segment_of(finding: Finding, report: Report, segmentation: Dataset | None) -> Segment | None:
    """Return the region that `finding` stands on; an abstained finding shows none."""
    if segmentation is None or finding.abstained:
        return None
    return next(
        (s for s in report.segments if s.number == finding.segment_number and s.mask.any()), None
    )


def _shared(finding: Finding, report: Report) -> dict[str, Any]:
    """Return what all kinds of groups say; made anew each time, because a group owns its items."""
    algorithm = report.algorithm
    return {
        "tracking_identifier": TrackingIdentifier(
            uid=finding.tracking_uid, identifier=words(finding.tracking_id)
        ),
        "finding_type": coded(finding.concept),
        "finding_sites": [FindingSite(coded(finding.site))] if finding.site else None,
        "algorithm_id": AlgorithmIdentification(
            name=line(algorithm.name),
            version=line(algorithm.version),
            manufacturer=line(algorithm.manufacturer),
            parameters=[f"package={algorithm.digest}", f"settings={algorithm.settings_digest}"],
        ),
    }


def _measurements(finding: Finding) -> list[MeasurementItem]:
    if finding.abstained:
        return []
    measured = [
        MeasurementItem(coded(m.name), _rounded(m.value), coded(m.unit.code))
        for m in finding.measurements
    ]
    return measured + [_probability(p) for p in _probabilities(finding)]


def _probabilities(finding: Finding) -> tuple[ClassProbability, ...]:
    if finding.probabilities or finding.probability is None:
        return finding.probabilities
    return (ClassProbability(concept=finding.concept, probability=finding.probability),)


def _probability(of_class: ClassProbability) -> MeasurementItem:
    """TID 300 with the class as concept modifier, so that several stand side by side."""
    item = MeasurementItem(
        coded(codes.PROBABILITY), _rounded(of_class.probability), coded(codes.ONE.code)
    )
    which = CodeContentItem(
        coded(_FINDING),
        coded(of_class.concept),
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    if "ContentSequence" not in item[0]:
        item[0].ContentSequence = ContentSequence()
    item[0].ContentSequence.append(which)
    return item


def _evidence(finding: Finding, report: Report) -> list[SourceImageForMeasurementGroup]:
    classes = {str(header.instance_uid): header.sop_class_uid for header in report.instances}
    unknown = set(finding.evidence) - classes.keys()
    if unknown:
        msg = f"{len(unknown)} evidence image(s) are not among the instances of the report"
        raise ObjectInvalid(msg)
    return [SourceImageForMeasurementGroup(classes[uid], uid) for uid in finding.evidence]


def _statements(finding: Finding) -> list[TextContentItem]:
    said = [_comment(finding.statement)]
    if finding.abstained:
        said.append(_comment(f"Not measured: {finding.abstained.text} ({finding.abstained.code})"))
    return said


def _comment(sentence: str) -> TextContentItem:
    return TextContentItem(
        coded(_COMMENT), words(sentence), relationship_type=RelationshipTypeValues.CONTAINS
    )


def _separate(item: Dataset) -> None:
    """Show each content item on its own line (PS3.3 C.18.8): continuous text runs together."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", ()):
        _separate(child)


def _rounded(value: float) -> float:
    """Six significant digits: a DS value holds 16 characters and readers see all of them."""
    return float(f"{value:.6g}")
