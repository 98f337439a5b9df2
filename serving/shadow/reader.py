"""One reading in the shadow: a version reads what the served one read, and both are compared.

Runs in an analyser that stands aside, and so writes nothing: it might hold the database's lock
while it has to wait for the processor. What comes of it goes to the worker.
"""

import gzip
from base64 import b64encode
from typing import Any

from pydicom import dcmread

from dicom_node.archive import Archive
from dicom_node.index import Index
from imaging.errors import InputError, ModelError, NotFound
from imaging.seg_masks import SegmentMasks
from serving.journal import Journal
from serving.pipeline import Pipeline
from serving.records import FindingRecord, finding_record
from serving.shadow.comparison import compared
from serving.shadow.readings import Said
from serving.tickets import Assignment

SHADOW_STEP = "shadow"
_NO_ANSWER = "NO_ANSWER"


class ShadowReader:
    """Reads and compares; every call may be repeated."""

    def __init__(
        self, pipeline: Pipeline, *, journal: Journal, index: Index, archive: Archive
    ) -> None:
        self._pipeline, self._journal = pipeline, journal
        self._index, self._archive = index, archive

    def read(self, assignment: Assignment) -> Any:
        """Let a version read a series; return `Said`, beside what was served, as JSON."""
        return self._said(assignment).model_dump(mode="json")

    def _said(self, assignment: Assignment) -> Said:
        try:
            report, draft = self._pipeline.rehearse(assignment)
        except (InputError, ModelError, NotFound) as error:
            return Said(why=error.code)
        ours = tuple(
            finding_record(
                finding,
                workitem_uid=assignment["study"]["workitem_uid"],
                series_uid=assignment["series_uid"],
                algorithm=report.algorithm,
            )
            for finding in report.findings
        )
        theirs = self._served(assignment)
        masks = SegmentMasks(dataset=draft.dataset) if draft else None
        comparison = compared(theirs, ours, (self._served_masks(assignment), masks))
        if not theirs:
            comparison = comparison.model_copy(update={"served_silent": (_NO_ANSWER,)})
        part10 = gzip.compress(draft.part10, mtime=0) if draft else b""
        segmentation = b64encode(part10).decode()
        return Said(
            served=theirs[0].model_digest if theirs else "",
            comparison=comparison,
            findings=ours,
            segmentation=segmentation,
        )

    def _served(self, assignment: Assignment) -> list[FindingRecord]:
        wanted = (
            assignment["study"]["workitem_uid"],
            assignment["series_uid"],
            assignment["model"],
        )
        found = self._journal.findings(assignment["study"]["study_uid"])
        return [f for f in found if (f.workitem_uid, f.series_uid, f.model) == wanted]

    def _served_masks(self, assignment: Assignment) -> SegmentMasks | None:
        """Return what the served version outlined, as it was delivered."""
        for result in self._journal.results(workitem_uid=assignment["study"]["workitem_uid"]):
            if (result.model, result.kind) == (assignment["model"], "SEG"):
                stored = self._index.instance(result.instance_uid)
                if stored is not None:
                    return SegmentMasks(dataset=dcmread(self._archive.file(stored.path)))
        return None
