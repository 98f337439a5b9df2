"""Recognises what readers saved into analysed studies: their corrections enter the history."""

from collections.abc import Iterator, Mapping, Sequence

import structlog
from pydicom import Dataset, dcmread

from dicom_node.archive import Archive
from dicom_node.index import Index
from imaging.annotations import is_report, is_segmentation
from imaging.attributes import UNCONVERTIBLE, text, vector
from imaging.errors import NotFound, WetreadError
from imaging.header import read_dataset
from imaging.objects import MANUFACTURER
from imaging.reasons import reason
from imaging.saved_report import Group, groups_of, observer_of
from imaging.seg_masks import SegmentMasks
from serving.dicomweb.offered import SENDER
from serving.journal import Journal
from serving.operations import Operations
from serving.people.person import LOCAL
from serving.records import FindingRecord, Result, reason_record
from serving.saved_diffs import Ours, report_matches, segmentation_matches
from serving.saved_objects import SavedMatch, SavedObject, SavedObjects

_log = structlog.get_logger(__name__)
_UNREADABLE = (WetreadError, *UNCONVERTIBLE)


class Recogniser:
    """Looks at what was saved once its study is analysed. Every step may be repeated."""

    def __init__(
        self,
        *,
        index: Index,
        archive: Archive,
        journal: Journal,
        saved: SavedObjects,
        operations: Operations,
    ) -> None:
        self._index, self._archive, self._journal = index, archive, journal
        self._saved, self._operations = saved, operations

    def look(self) -> None:
        """Look at all that waits and whose study is not in work."""
        for saved in self._saved.pending():
            if self._is_at_rest(saved.study_uid):
                self._take(saved)

    def _is_at_rest(self, study_uid: str) -> bool:
        """Whether a study is complete and no analysis of it is open."""
        try:
            arriving = self._index.study(study_uid).state != "complete"
        except NotFound:  # removed meanwhile, the object with it
            return False
        items = self._journal.workitems(study_uid=study_uid)
        return not (arriving or any(item.is_open for item in items))

    def _take(self, saved: SavedObject) -> None:
        findings = self._journal.current_findings(saved.study_uid)
        if saved.state == "new":
            items = self._journal.workitems(study_uid=saved.study_uid)
            newest = items[0].workitem_uid if items else ""
            self._saved.settle(self._read(saved, findings), findings, workitem_uid=newest)
        corrections = self._saved.corrections(saved)
        if corrections:
            self._operations.file_assessment(saved.study_uid, max(corrections))
        self._saved.filed(saved)
        _log.info("saved_object", study=saved.study_uid, corrections=len(corrections))

    def _read(self, saved: SavedObject, findings: Sequence[FindingRecord]) -> SavedObject:
        """Return the object with who saved it when, and what it makes of our findings."""
        try:
            ds = self._dataset(saved.instance_uid)
            matches = self._matches(saved, ds, findings)
        except _UNREADABLE as error:
            why = reason("SAVED_UNREADABLE", detail=type(error).__name__)
            unread = SavedMatch(tracking_uid="", why=reason_record(why))
            return saved.model_copy(
                update={"reader": saved.stored_by or saved.sender, "matches": (unread,)}
            )
        moment = text(ds, "ContentDate") + text(ds, "ContentTime")
        update = {"reader": _reader(ds, saved), "saved_at": moment, "matches": matches}
        return saved.model_copy(update=update)

    def _matches(
        self, saved: SavedObject, ds: Dataset, findings: Sequence[FindingRecord]
    ) -> tuple[SavedMatch, ...]:
        results = self._journal.results(study_uid=saved.study_uid)
        known = any(result.instance_uid == saved.instance_uid for result in results)
        if known or text(ds, "Manufacturer") == MANUFACTURER:  # our own, sent back
            return ()
        ours = list(self._ours(saved, findings, results))
        instances = self._index.instances_of(saved.study_uid)
        series_of = {i.instance_uid: i.series_uid for i in instances if i.is_content}
        if is_segmentation(saved.sop_class_uid):
            return segmentation_matches(SegmentMasks(dataset=ds), ours, series_of)
        return report_matches(ds, ours, series_of) if is_report(saved.sop_class_uid) else ()

    def _ours(
        self, saved: SavedObject, findings: Sequence[FindingRecord], results: Sequence[Result]
    ) -> Iterator[Ours]:
        for finding in findings:
            made = {
                result.kind: result
                for result in results
                if (result.workitem_uid, result.model) == (finding.workitem_uid, finding.model)
            }
            groups = self._groups(made.get("SR"))
            group = groups.get(finding.tracking_uid)
            times = [result.created_at for result in made.values()]
            yield Ours(
                finding=finding,
                masks=self._masks(made.get("SEG")),
                group=group,
                pixel_mm2=self._pixel_mm2(group),
                may_be_named=bool(times) and max(times) < saved.received_at,
            )

    def _masks(self, result: Result | None) -> SegmentMasks | None:
        return SegmentMasks(dataset=self._dataset(result.instance_uid)) if result else None

    def _groups(self, result: Result | None) -> Mapping[str, Group]:
        found = groups_of(self._dataset(result.instance_uid)) if result else ()
        return {group.tracking_uid: group for group in found}

    def _pixel_mm2(self, group: Group | None) -> Mapping[str, float]:
        """Return the area of a pixel of the images that a group outlines, where it is said."""
        found: dict[str, float] = {}
        for outline in group.outlines if group else ():
            stored = self._index.instance(outline.image_uid)
            header = read_dataset(self._archive.file(stored.path)) if stored else None
            spacing = vector(header, "PixelSpacing", 2) if header else None
            if spacing:
                found[outline.image_uid] = spacing[0] * spacing[1]
        return found

    def _dataset(self, instance_uid: str) -> Dataset:
        stored = self._index.instance(instance_uid)
        if stored is None:
            msg = f"instance {instance_uid} is not here"
            raise NotFound(msg)
        return dcmread(self._archive.file(stored.path))


def _reader(ds: Dataset, saved: SavedObject) -> str:
    """Return who saved an object: who was signed in, else as it says, else by the way it came."""
    named = saved.stored_by or observer_of(ds) or text(ds, "ContentCreatorName")
    return named or (LOCAL.name if saved.sender == SENDER else saved.sender)
