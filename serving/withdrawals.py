"""Withdrawing at a destination what later results have replaced there (IHE RAD IOCM).

A rejection note is a result like any other: stored, delivered, proven. It is made only once all
that takes the place of the rejected is proven to be there.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from pydicom import dcmread

from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.ways import Destination
from imaging.findings import ObjectRef
from imaging.rejection import Rejection
from serving.encoding import rejection_draft
from serving.journal import Journal
from serving.records import APART, Delivery, Result
from serving.results import ResultStore
from serving.standing import Standings

_THERE = ("delivered", "proven")
_SETTLED = ("proven", "refused", "superseded")


class Withdrawals:
    """Plans rejection notes."""

    def __init__(
        self, *, index: Index, archive: Archive, journal: Journal, results: ResultStore
    ) -> None:
        self._index, self._archive = index, archive
        self._journal, self._results = journal, results
        self._standings = Standings(index, journal)

    def planned(self, destination: Destination, results: Sequence[str]) -> bool:
        """Whether notes for `destination` were planned, beside the deliveries of `results`."""
        if not destination.withdraw or not results:
            return False
        root = self._journal.result(results[0])
        all_results = {r.instance_uid: r for r in self._journal.results(study_uid=root.study_uid)}
        items = {
            d.instance_uid: d
            for d in self._journal.deliveries(study_uid=root.study_uid)
            if d.destination == destination.name
        }
        replaced: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
        heirs: dict[tuple[str, str], Result] = {}
        for uid, item in items.items():
            if uid in all_results and self._is_replaced(all_results[uid], item):
                heir = self._last_heir(all_results[uid], all_results)
                if self._is_proven(heir, all_results, items):
                    reading = heir.workitem_uid, heir.model
                    replaced[reading].append(item)
                    heirs[reading] = min(heir, heirs.get(reading, heir), key=_by_uid)
        for reading, rejected in replaced.items():
            self._withdraw(heirs[reading], rejected, root_uid=results[0])
        return bool(replaced)

    def _is_replaced(self, result: Result, item: Delivery) -> bool:
        there = item.state in _THERE and item.withdrawn_by is None
        return there and self._standings.heir(result) is not None

    def _last_heir(self, result: Result, known: dict[str, Result]) -> Result:
        seen: set[str] = set()
        while result.superseded_by in known and result.instance_uid not in seen:
            seen.add(result.instance_uid)
            result = known[result.superseded_by]
        return result

    def _is_proven(
        self, heir: Result, known: dict[str, Result], items: dict[str, Delivery]
    ) -> bool:
        """Whether the destination has all that it is to have of the analysis of `heir`."""
        mine = [
            item
            for uid, item in items.items()
            if uid in known
            and known[uid].workitem_uid == heir.workitem_uid
            and known[uid].model == heir.model
            and known[uid].kind not in APART
        ]
        settled = all(item.state in _SETTLED for item in mine)
        return settled and any(item.state == "proven" for item in mine)

    def _withdraw(self, heir: Result, rejected: Sequence[Delivery], *, root_uid: str) -> None:
        refs = [self._reference(item.instance_uid) for item in rejected]
        stored = self._index.instance(heir.instance_uid)
        assert stored is not None
        source = dcmread(self._archive.file(stored.path), stop_before_pixels=True)
        note = Rejection(
            rejected=tuple(refs),
            heir_uid=heir.instance_uid,
            created=datetime.fromtimestamp(heir.created_at, UTC),
        )
        draft = rejection_draft(note, source)
        result = self._results.keep(draft, workitem_uid=heir.workitem_uid, model=heir.model)
        self._journal.plan_withdrawal(result, rejected, root_uid=root_uid)

    def _reference(self, instance_uid: str) -> ObjectRef:
        stored = self._index.instance(instance_uid)
        assert stored is not None
        return ObjectRef(
            sop_class_uid=stored.sop_class_uid,
            instance_uid=stored.instance_uid,
            series_uid=stored.series_uid,
            study_uid=stored.study_uid,
        )


def _by_uid(result: Result) -> str:
    return result.instance_uid
