"""What a destination gets in the place of what it refused for what it is."""

from collections.abc import Sequence

from pydicom import dcmread

from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.ways import Destination
from imaging.text_report import Said
from serving.encoding import text_draft
from serving.journal import Journal
from serving.records import Delivery, Result
from serving.results import ResultStore
from serving.room.language import Words
from serving.settings import Settings

_UNVERIFIED_ZH = "仅供研究使用，未经验证"
_REPORTS = ("SR", "NOTICE")
_REPLACEABLE = ("SEG", *_REPORTS)
_INSTEAD = " sent instead"
_NAMES = {"KEY_IMAGE": "key image", "TEXT": "text SR"}


class StandIns:
    """Makes results in words, and plans deliveries of what stands in."""

    def __init__(
        self,
        *,
        settings: Settings,
        index: Index,
        archive: Archive,
        journal: Journal,
        results: ResultStore,
    ) -> None:
        self._language = settings.analysis.language
        self._index, self._archive = index, archive
        self._journal, self._results = journal, results

    def in_words(self, report: Result) -> Result:
        """Return the text SR that stands for a measurement report or a notice."""
        stored = self._index.instance(report.instance_uid)
        assert stored is not None
        words = Words("zh")
        said = [
            Said(
                english=finding.statement,
                chinese=f"{words.statement(finding)}。{_UNVERIFIED_ZH}",
            )
            for finding in self._journal.findings(report.study_uid)
            if (finding.workitem_uid, finding.model) == (report.workitem_uid, report.model)
        ]
        ds = dcmread(self._archive.file(stored.path))
        draft = text_draft(ds, said, language=self._language)
        return self._results.keep(draft, workitem_uid=report.workitem_uid, model=report.model)

    def planned(self, destination: Destination, results: Sequence[str]) -> bool:
        """Whether words were planned that are configured, or something in the place of refusals."""
        if not results:
            return False
        items = self._journal.deliveries_of(results, destination.name)
        known = {item.instance_uid: self._journal.result(item.instance_uid) for item in items}
        new = False
        if "text" in destination.outputs and "TEXT" not in {each.kind for each in known.values()}:
            reports = (each for each in map(self._journal.result, results) if each.kind in _REPORTS)
            texts = [self.in_words(self._current(each)) for each in reports]
            new = self._journal.plan_beside(texts, destination.name, root_uid=results[0])
        for item in items:
            refused = item.state == "refused" and not item.last_error.endswith(_INSTEAD)
            if refused and known[item.instance_uid].kind in _REPLACEABLE:
                new |= self._instead(destination, item, root_uid=results[0])
        return new

    def _instead(self, destination: Destination, item: Delivery, *, root_uid: str) -> bool:
        refused = {
            each.instance_uid
            for each in self._journal.deliveries(study_uid=item.study_uid, state="refused")
            if each.destination == destination.name
        }
        possible = self._stand_ins(destination, self._journal.result(item.instance_uid))
        stand_ins = [each for each in possible if each.instance_uid not in refused]
        if not stand_ins:
            return False
        names = " and ".join(dict.fromkeys(_NAMES[each.kind] for each in stand_ins))
        new = self._journal.plan_beside(stand_ins, item.destination, root_uid=root_uid)
        self._journal.note_instead(item, names + _INSTEAD)
        return new

    def _current(self, report: Result) -> Result:
        """Return the corrected one of a report, where there is one."""
        for each in self._journal.results(workitem_uid=report.workitem_uid):
            same = (each.model, each.kind) == (report.model, report.kind)
            if same and each.state == "valid" and not each.superseded_by:
                return each
        return report

    def _stand_ins(self, destination: Destination, result: Result) -> list[Result]:
        """Return the valid ones of the same reading, of the kinds that may stand in."""
        reading = [
            each
            for each in self._journal.results(workitem_uid=result.workitem_uid)
            if each.model == result.model and each.state == "valid" and not each.superseded_by
        ]
        found = [each for each in reading if each.kind == "KEY_IMAGE"]
        if "key_image" not in destination.instead:
            found = []
        reports = [each for each in reading if each.kind in _REPORTS]
        if "text" in destination.instead:
            found += [text for text in map(self.in_words, reports) if text.state == "valid"]
        return found
