"""Whether a result still stands: newer images, or a later result, may have come since."""

from collections.abc import Sequence

from dicom_node.index import Index
from imaging.reasons import Reason, reason
from serving.journal import Journal
from serving.records import APART, Result, Standing


class Standings:
    """Judges results by what has been received since."""

    def __init__(self, index: Index, journal: Journal) -> None:
        self._index, self._journal = index, journal

    def of_study(self, study_uid: str) -> dict[str, Standing]:
        """Return the standing of every result of a study, by UID."""
        results = self._journal.results(study_uid=study_uid)
        outdated = self.outdated(results)
        return {r.instance_uid: _standing(r, outdated=r.instance_uid in outdated) for r in results}

    def heir(self, result: Result) -> Result | None:
        """Return the result of a later analysis that took the place of this one, if there is one.

        One that was only corrected, for another patient or order, has no heir in this sense.
        """
        if result.kind in APART:
            return None
        seen, current = {result.instance_uid}, result
        while current.superseded_by is not None and current.superseded_by not in seen:
            current = self._journal.result(current.superseded_by)
            seen.add(current.instance_uid)
            if current.workitem_uid != result.workitem_uid:
                return current
        return None

    def outdated(self, results: Sequence[Result]) -> dict[str, Reason]:
        """Return which results, all of one study, were made before newer images of their series."""
        if not results:
            return {}
        study_uid = results[0].study_uid
        last: dict[str, float] = {}
        for instance in self._index.instances_of(study_uid):
            if instance.is_content:
                series_uid = instance.series_uid
                last[series_uid] = max(last.get(series_uid, 0.0), instance.received_at)
        begun = {w.workitem_uid: w.created_at for w in self._journal.workitems(study_uid=study_uid)}
        read = {
            (d.workitem_uid, d.model): d.series_uid
            for d in self._journal.decisions(study_uid)
            if d.chosen
        }
        found: dict[str, Reason] = {}
        for result in results:
            if result.kind in APART:
                continue
            place = read.get((result.workitem_uid, result.model))
            newest = last.get(place, 0.0) if place else max(last.values(), default=0.0)
            if newest > begun.get(result.workitem_uid, newest):
                found[result.instance_uid] = reason("OUTDATED")
        return found


def _standing(result: Result, *, outdated: bool) -> Standing:
    if result.state == "held":
        return "held"
    if result.superseded_by is not None:
        return "superseded"
    return "outdated" if outdated else "current"
