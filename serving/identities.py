"""Whose a study is, asked of the PACS just before delivery; results follow it or are held.

The destination itself is asked first, because there the results must lie with the images; where it
cannot be asked or does not know the study, the other peers that answer queries are.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog
from pydicom import Dataset, dcmread

from dicom_node.archive import Archive
from dicom_node.index import Index
from dicom_node.records import StudyRow
from dicom_node.scu import Timeouts
from dicom_node.ways import Destination, way_to
from imaging.header import read_header
from imaging.objects import encoded
from imaging.reasons import Reason, reason
from imaging.whose import Whose, corrected, corrected_uid, differing, followed, whose
from serving.encoding import Draft
from serving.journal import Journal
from serving.proofs import Sent
from serving.records import Result
from serving.results import ResultStore
from serving.settings import Settings

_log = structlog.get_logger(__name__)
_REST_S = 60.0
_BY_A_PERSON = "released by a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What may be sent, corrected where that was needed, and why the rest is held, by UID."""

    due: tuple[Sent, ...]
    held: Mapping[str, Reason] = field(default_factory=dict)


class Identities:
    """Asks, compares and corrects."""

    def __init__(
        self,
        *,
        settings: Settings,
        index: Index,
        archive: Archive,
        journal: Journal,
        results: ResultStore,
    ) -> None:
        self._settings, self._index, self._archive = settings, index, archive
        self._journal, self._results = journal, results
        self._rests: dict[str, float] = {}

    def cleared(self, destination: Destination, due: Sequence[Sent]) -> Cleared:
        """Return what of `due`, which is of one study, may go to `destination` now."""
        free = tuple(each for each in due if each.item.released_at is not None)
        doubted = [each for each in due if each.item.released_at is None]
        self._note(free, destination, _BY_A_PERSON)
        if not doubted or self._settings.delivery.identity == "ignore":
            return Cleared(due=tuple(due))
        judged = self._judged(destination, doubted)
        return replace(judged, due=(*free, *judged.due))

    def _judged(self, destination: Destination, due: Sequence[Sent]) -> Cleared:
        study = self._index.study(due[0].instance.study_uid)
        answers = self._answers(destination, study)
        if not answers:
            return self._without_answer(destination, due, study, silent=answers is None)
        theirs = list(map(whose, answers))
        if len({(each.patient_id, each.issuer) for each in theirs}) > 1:
            return _held(due, reason("STUDY_AMBIGUOUS", count=len(theirs)))
        return self._following(destination, due, theirs[0])

    def _without_answer(
        self, destination: Destination, due: Sequence[Sent], study: StudyRow, *, silent: bool
    ) -> Cleared:
        """Deliver as before, unless there is reason to doubt whose the study is."""
        if silent and self._is_contested(study):
            return _held(due, reason("IDENTITY_CONTESTED"))
        if not silent and study.completeness in {"confirmed", "limit"}:  # a PACS did know it
            return _held(due, reason("STUDY_GONE"))
        why = "no PACS answered" if silent else "no PACS lists the study"
        return self._as_it_is(due, destination, f"not checked: {why}")

    def _following(self, destination: Destination, due: Sequence[Sent], theirs: Whose) -> Cleared:
        differences = {each.uid: differing(self._whose(each), theirs) for each in due}
        named = tuple(dict.fromkeys(name for names in differences.values() for name in names))
        agreeing = [each for each in due if not differences[each.uid]]
        kept = self._as_it_is(agreeing, destination, "as the PACS has it")
        others = [each for each in due if differences[each.uid]]
        if not others:
            return kept
        if self._settings.delivery.identity == "hold":
            held = _held(others, reason("IDENTITY_DIFFERS", what=named))
            return replace(held, due=kept.due)
        _log.warning("identity_corrected", study=others[0].instance.study_uid, what=list(named))
        self._index.correct(others[0].instance.study_uid, theirs)
        return self._corrected(others, theirs, kept=kept)

    def _corrected(self, others: Sequence[Sent], theirs: Whose, *, kept: Cleared) -> Cleared:
        """Store the results again as those of the right patient, and let these be delivered."""
        together = tuple(each.uid for each in others)
        read = [dcmread(self._archive.file(each.instance.path)) for each in others]
        to = {str(ds.SOPInstanceUID): followed(whose(ds), theirs) for ds in read}
        uids = {
            old: corrected_uid(old, to[str(ds.SOPInstanceUID)], together)
            for ds in read
            for old in (str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID))
        }
        due, held = list(kept.due), dict(kept.held)
        for each, ds in zip(others, read, strict=True):
            made = corrected(ds, to[each.uid], uids)
            result = self._keep(each, made)
            item = self._journal.replace_delivery(each.item, result, why="corrected by the PACS")
            stored = self._index.instance(result.instance_uid)
            assert stored is not None
            if result.state == "held":
                held[result.instance_uid] = reason("OBJECT_INVALID", detail=result.problems[0])
            elif item.state in {"waiting", "held"}:
                due.append(Sent(item=item, instance=stored))
        return Cleared(due=tuple(due), held=held)

    def _keep(self, each: Sent, made: Dataset) -> Result:
        former = self._journal.result(each.uid)
        draft = Draft(kind=former.kind, dataset=made, part10=encoded(made))
        return self._results.keep(draft, workitem_uid=former.workitem_uid, model=former.model)

    # Asking

    def _answers(self, destination: Destination, study: StudyRow) -> tuple[Dataset, ...] | None:
        """Return what is said of the study; empty if all who answer queries say it is not there."""
        asked = silent = False
        for peer in self._asked(destination, study):
            answers = self._answer(peer, study.study_uid, patient=peer is destination)
            if answers:
                return answers
            asked, silent = True, silent or answers is None
        return () if asked and not silent else None

    def _asked(self, destination: Destination, study: StudyRow) -> Iterator[Destination]:
        peers: Iterable[Destination] = self._settings.reached().values()
        titles = {peer.name: peer.ae_title for peer in self._settings.peers}
        yield from (peer for peer in (destination,) if peer.query)
        others = (peer for peer in peers if peer.query and peer != destination)
        yield from sorted(others, key=lambda peer: titles.get(peer.name) != study.sender)

    def _answer(
        self, peer: Destination, study_uid: str, *, patient: bool
    ) -> tuple[Dataset, ...] | None:
        """Ask one peer; one that gives no answer must not hold up what goes to another."""
        if not patient and time.monotonic() < self._rests.get(peer.name, 0.0):
            return None
        limits = self._settings.delivery
        reply_s = limits.reply_s if patient else limits.connect_s
        timeouts = Timeouts(connect_s=limits.connect_s, reply_s=reply_s)
        way = way_to(peer, ae_title=self._settings.node.ae_title, timeouts=timeouts)
        answers = way.study(study_uid)
        if answers is None:
            self._rests[peer.name] = time.monotonic() + _REST_S
        return answers

    def _is_contested(self, study: StudyRow) -> bool:
        """Whether images of the study came that say it is another patient's."""
        for item in self._index.set_aside(study.study_uid):
            if item.code == "OTHER_PATIENT":
                return True
            if item.code == "CONFLICT" and item.path:
                sent = read_header(self._archive.file(item.path)).patient.patient_id
                if sent and sent != study.patient_id:
                    return True
        return False

    # Noting

    def _as_it_is(self, due: Sequence[Sent], destination: Destination, why: str) -> Cleared:
        self._note(due, destination, why)
        return Cleared(due=tuple(due))

    def _note(self, due: Sequence[Sent], destination: Destination, why: str) -> None:
        self._journal.note_identity([each.uid for each in due], destination.name, why)

    def _whose(self, each: Sent) -> Whose:
        return whose(dcmread(self._archive.file(each.instance.path), stop_before_pixels=True))


def _held(due: Sequence[Sent], why: Reason) -> Cleared:
    return Cleared(due=(), held={each.uid: why for each in due})
