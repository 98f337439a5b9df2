"""What the chaos run ends with: whether all that was acknowledged is there, once and current.

The results are judged by the objects that the PACS gives back, not by Wetread's own rows.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread

from dicom_node.part10 import encoded_of
from scripts.chaos_senders import Ledger
from scripts.chaos_site import LISTENER, OURS, Site
from scripts.chaos_studies import ChaosStudy
from serving.messages import Message
from serving.parts import Parts
from serving.records import Result

_SHOWN = 20


@dataclass(slots=True)
class Audit:
    """Every fault with the UID it is about, and how much was looked at."""

    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    lost_by_pacs: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether Wetread lost, doubled and left stale nothing."""
        return not (self.lost or self.double or self.stale)

    def lines(self) -> list[str]:
        """Return the outcome in words."""
        faults = {"lost": self.lost, "double": self.double, "stale": self.stale}
        told = [f"{name} {len(found)}" for name, found in faults.items()]
        looked = ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
        return [
            ", ".join(told),
            f"lost by the PACS itself: {len(self.lost_by_pacs)}",
            f"looked at: {looked}",
            *(f"{name}: {text}" for name, found in faults.items() for text in found[:_SHOWN]),
        ]


def audited(site: Site, ledger: Ledger) -> Audit:
    """Look at every acknowledged instance and every result of every study that was sent whole."""
    audit, auditor = Audit(), _Auditor(site, ledger)
    for study in ledger.studies:
        audit.counts["studies"] += 1
        auditor.instances(audit, study)
        auditor.work(audit, study)
        auditor.results(audit, study)
        auditor.messages(audit, study)
    known = {message.message_id for message in site.parts.messages.listed(target=LISTENER)}
    audit.double += [f"message {uid} is not known" for uid in site.listener.got.keys() - known]
    return audit


def open_work(parts: Parts) -> dict[str, int]:
    """Return what is still to be done: studies that arrive, workitems, deliveries, messages."""
    counts = parts.journal.counts()
    waiting = ("SCHEDULED", "IN PROGRESS"), ("waiting", "delivered", "held")
    return {
        "studies": len(parts.index.receiving_studies()),
        "workitems": sum(counts.get(("workitems", state), 0) for state in waiting[0]),
        "deliveries": sum(counts.get(("deliveries", state), 0) for state in waiting[1]),
        "messages": counts.get(("messages", "waiting"), 0),
    }


class _Auditor:
    """Looks at one study after the other."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._pacs, self._parts, self._ledger = site.pacs, site.parts, ledger
        self._got = site.listener.got

    def instances(self, audit: Audit, study: ChaosStudy) -> None:
        """Compare what is kept with what was sent and acknowledged, byte by byte."""
        for uid in set(study.slices) & self._ledger.acknowledged[OURS]:
            audit.counts["acknowledged instances"] += 1
            stored = self._parts.index.instance(uid)
            if stored is None:
                audit.lost.append(f"instance {uid} is not in the index")
                continue
            file = self._parts.archive.file(stored.path)
            if not file.is_file() or _content(file) != _content(study.slices[uid]):
                audit.lost.append(f"instance {uid} is not kept as it was sent")

    def work(self, audit: Audit, study: ChaosStudy) -> None:
        """Look whether each content was analysed once and to its end."""
        items = self._parts.journal.workitems(study_uid=study.study_uid)
        audit.counts["workitems"] += len(items)
        for digest, number in Counter(item.content_digest for item in items).items():
            if number > 1:
                text = f"study {study.study_uid}: {number} analyses of content {digest}"
                audit.double.append(text)
        for item in items:
            if item.state != "COMPLETED" or item.reason_code:
                text = f"{item.state} {item.reason_code} {item.reason_text}"
                audit.lost.append(f"workitem {item.workitem_uid}: {text}")

    def results(self, audit: Audit, study: ChaosStudy) -> None:
        """Look at what the PACS has of a study."""
        sources, there = frozenset(study.slices), self._pacs.instances(study.study_uid)
        missing = (sources & self._ledger.acknowledged[self._pacs.ae_title]) - there
        audit.lost_by_pacs += sorted(missing)
        known = self._parts.journal.results(study_uid=study.study_uid)
        ours = {result.instance_uid for result in known}
        replaced = self._replaced(study.study_uid, known, there)
        audit.counts["results replaced before delivery"] += len(replaced - there)
        audit.lost += [f"result {uid} is not in the PACS" for uid in ours - there - replaced]
        audit.double += [f"object {uid} in the PACS is not known" for uid in there - sources - ours]
        files = self._pacs.files(study.study_uid, without=sources)
        audit.counts["results in the PACS"] += len(files)
        _current(audit, study, [dcmread(BytesIO(file)) for file in files])

    def messages(self, audit: Audit, study: ChaosStudy) -> None:
        """Look whether each analysis was told once, in the same bytes however often it came."""
        known = self._parts.messages.listed(study_uid=study.study_uid, target=LISTENER)
        planned = Counter(message.workitem_uid for message in known)
        for item in self._parts.journal.workitems(study_uid=study.study_uid):
            number = planned[item.workitem_uid]
            if number != 1:
                text = f"workitem {item.workitem_uid}: {number} messages"
                (audit.double if number else audit.lost).append(text)
        for place, message in enumerate(known):  # newest first; it alone must have arrived
            self._message(audit, message, may_be_replaced=place > 0)

    def _message(self, audit: Audit, message: Message, *, may_be_replaced: bool) -> None:
        copies = self._got.get(message.message_id, [])
        audit.counts["messages"] += 1
        audit.counts["messages that came again"] += len(copies) > 1
        replaced = may_be_replaced and message.state == "superseded"
        if not (replaced or (message.state == "delivered" and copies)):
            text = f"message {message.message_id} is {message.state} and came {len(copies)} times"
            audit.lost.append(text)
        if set(copies) - {self._parts.messages.body(message)}:
            audit.double.append(f"message {message.message_id} came in other bytes")

    def _replaced(
        self, study_uid: str, known: Sequence[Result], there: frozenset[str]
    ) -> frozenset[str]:
        """Return results that were not sent because a later one, which is there, replaced them.

        There is no delivery of one whose analysis was killed before it planned any, and went on
        with images that had come meanwhile.
        """
        heirs = {result.instance_uid: result.superseded_by for result in known}
        deliveries = self._parts.journal.deliveries(study_uid=study_uid)
        sent = {item.instance_uid for item in deliveries if item.state != "superseded"}

        def last_heir(uid: str) -> str:
            heir = heirs.get(uid)
            return uid if heir is None else last_heir(heir)

        return frozenset(uid for uid in heirs if uid not in sent and last_heir(uid) in there)


def _current(audit: Audit, study: ChaosStudy, objects: list[Dataset]) -> None:
    """There must be one SEG and one SR of all slices, and no other SR that none replaces."""
    reports = [ds for ds in objects if ds.Modality == "SR"]
    replaced = {uid for ds in reports for uid in _predecessors(ds)}
    current = [ds for ds in reports if ds.SOPInstanceUID not in replaced]
    sources = frozenset(study.slices)
    whole = {
        "SEG": [ds for ds in objects if ds.Modality == "SEG" and _images(ds) == sources],
        "SR": [ds for ds in current if _evidence(ds) >= sources],
    }
    for kind, found in whole.items():
        text = f"study {study.study_uid}: {len(found)} {kind} of all its slices in the PACS"
        if len(found) != 1:
            (audit.double if found else audit.lost).append(text)
    for ds in current:
        if not _evidence(ds) >= sources:
            audit.stale.append(f"study {study.study_uid}: SR {ds.SOPInstanceUID} looks current")


def _content(file: Path) -> bytes:
    return bytes(encoded_of(file.read_bytes()).dataset)


def _images(seg: Dataset) -> frozenset[str]:
    return frozenset(
        str(instance.ReferencedSOPInstanceUID)
        for series in seg.ReferencedSeriesSequence
        for instance in series.ReferencedInstanceSequence
    )


def _evidence(report: Dataset) -> frozenset[str]:
    return _referenced(report, "CurrentRequestedProcedureEvidenceSequence")


def _predecessors(report: Dataset) -> frozenset[str]:
    return _referenced(report, "PredecessorDocumentsSequence")


def _referenced(ds: Dataset, keyword: str) -> frozenset[str]:
    return frozenset(
        str(instance.ReferencedSOPInstanceUID)
        for study in ds.get(keyword, [])
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    )
