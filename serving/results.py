"""Result objects into the archive: checked, stored as received images are, and noted."""

from dicom_node.index import Index
from dicom_node.ingest import Ingest
from dicom_node.part10 import encoded_of
from imaging.conformance import problems
from serving.encoding import Draft
from serving.journal import Journal
from serving.records import Result
from serving.rows import Clock

_MADE_BY = "WETREAD"


class ResultStore:
    """Keeps result objects. Keeping the same twice keeps the first."""

    def __init__(self, *, index: Index, ingest: Ingest, journal: Journal, clock: Clock) -> None:
        self._index, self._ingest = index, ingest
        self._journal, self._clock = journal, clock

    def keep(self, draft: Draft, *, workitem_uid: str, model: str) -> Result:
        """Check and store one object; one that breaks a check is held: shown, not delivered."""
        ds = draft.dataset
        found = problems(draft.part10)
        # A later analysis of the same gives other times; what is here may be delivered already.
        if self._index.instance(ds.SOPInstanceUID) is None:
            self._ingest.store_result(encoded_of(draft.part10), made_by=_MADE_BY)
        result = Result(
            instance_uid=ds.SOPInstanceUID,
            workitem_uid=workitem_uid,
            study_uid=ds.StudyInstanceUID,
            series_uid=ds.SeriesInstanceUID,
            model=model,
            kind=draft.kind,
            sop_class_uid=ds.SOPClassUID,
            state="held" if found else "valid",
            problems=found,
            created_at=self._clock(),
        )
        self._journal.record_result(result)
        return result
