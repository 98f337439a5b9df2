"""Results to destinations: one attempt with proof, and how long to wait for the next."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from dicom_node.archive import Archive
from dicom_node.audit.auditor import Auditor
from dicom_node.audit.message import Actor
from dicom_node.audit.transfers import Transfer
from dicom_node.index import Index
from dicom_node.outcome import SendOutcome
from dicom_node.peers import Peer
from dicom_node.scu import Timeouts
from dicom_node.transactions import Transactions
from dicom_node.ways import Destination, Way, way_to
from imaging.reasons import Reason
from serving.identities import Identities
from serving.journal import Journal
from serving.proofs import Proofs, Sent
from serving.records import Delivery, DeliveryState
from serving.results import ResultStore
from serving.settings import Settings
from serving.stand_ins import StandIns
from serving.standing import Standings
from serving.withdrawals import Withdrawals

_log = structlog.get_logger(__name__)
_UNKNOWN = "the destination is not configured"
_DAY_S = 86400.0
_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What is here: instances, their files, the memory of the work, and where results go."""

    index: Index
    archive: Archive
    journal: Journal
    results: ResultStore


class Courier:
    """Brings stored results to configured peers."""

    def __init__(
        self,
        *,
        settings: Settings,
        holdings: Holdings,
        transactions: Transactions,
        auditor: Auditor,
    ) -> None:
        index, archive = holdings.index, holdings.archive
        journal, results = holdings.journal, holdings.results
        self._settings, self._index, self._archive = settings, index, archive
        self._journal, self._auditor = journal, auditor
        self._identities = Identities(
            settings=settings, index=index, archive=archive, journal=journal, results=results
        )
        self._stand_ins = StandIns(
            settings=settings, index=index, archive=archive, journal=journal, results=results
        )
        self._withdrawals = Withdrawals(
            index=index, archive=archive, journal=journal, results=results
        )
        self._standings = Standings(index, journal)
        self._proofs = Proofs(settings=settings, journal=journal, transactions=transactions)
        self._peers = settings.reached()
        self._title = settings.node.ae_title
        limits = settings.delivery
        self._timeouts = Timeouts(connect_s=limits.connect_s, reply_s=limits.reply_s)

    def probe(self, destination: str) -> str | None:
        """Return what is wrong with the way to a destination, ``None`` when it answers."""
        peer = self._peers.get(destination)
        if peer is None:
            return _UNKNOWN
        return self._way(peer).probe()

    def start_over(self, destination: str, results: list[str]) -> None:
        """Let what was refused or given up be tried anew."""
        self._journal.start_over(results, destination)

    def attempt(self, destination: str, results: list[str], attempt: int) -> float | None:
        """Try once to bring `results` to `destination` and to prove that they are there.

        Returns seconds until the next attempt, ``None`` when nothing is left to do. What the
        destination already has is not sent again, so an attempt may be repeated.
        """
        try:
            return self._attempt(destination, results, attempt)
        except Exception:  # noqa: BLE001 - whatever no part foresaw must not end a promise
            _log.exception("delivery_fails", destination=destination)
            return self._pause_s(attempt)

    def _attempt(self, destination: str, results: list[str], attempt: int) -> float | None:
        items = self._open(results, destination)
        peer = self._peers.get(destination)
        held: dict[str, str] = {}
        if peer is None:  # a slip in the settings must not end a promise
            problems = dict.fromkeys((each.uid for each in items), _UNKNOWN)
        else:
            problems = self._bring(peer, items, held)
            known = {each.uid for each in self._open(results, destination)}
            if self._stand_ins.planned(peer, results):
                opened = self._open(results, destination)
                new = [each for each in opened if each.uid not in known]
                problems |= self._bring(peer, new, held)
            problems |= self._committed(peer, self._open(results, destination))
            if not problems and not held and self._withdrawals.planned(peer, results):
                return self._attempt(destination, results, attempt)
        since = min((each.item.planned_at for each in items), default=0.0)
        return self._again(problems, held, destination, attempt=attempt, since=since)

    def _way(self, peer: Destination) -> Way:
        return way_to(peer, ae_title=self._title, timeouts=self._timeouts)

    def _bring(
        self, peer: Destination, items: Sequence[Sent], held: dict[str, str]
    ) -> dict[str, str]:
        """Send what is due; return what is left, and why, by UID, and note in `held` what is."""
        due = self._standing([e for e in items if e.item.state in {"waiting", "held"}], held)
        there = frozenset() if peer.commitment else self._proofs.listed(peer, due)
        due = [each for each in due if each.uid not in there]
        if not due:
            return {}
        cleared = self._identities.cleared(peer, due)
        held |= {uid: _said(why) for uid, why in cleared.held.items()}
        if not cleared.due:
            return {}
        return self._judge(peer, cleared.due, self._send(peer, cleared.due))

    def _send(self, peer: Destination, due: Sequence[Sent]) -> SendOutcome:
        """Send, and tell the audit trail when it begins and what became of it."""
        address = peer.host if isinstance(peer, Peer) else peer.url
        title = peer.ae_title if isinstance(peer, Peer) else ""
        to = Actor(user=peer.name, ae_title=title, address=address)
        process = replace(self._auditor.process, asked=True)
        transfer = Transfer(self._auditor, source=process, destination=to)
        for each in due:
            transfer.begin(each.instance.study_uid)
        paths = [self._archive.file(each.instance.path) for each in due]
        outcome = self._way(peer).send(paths)
        for each in due:
            if each.uid in outcome.stored:
                transfer.moved(each.instance.study_uid, each.instance.sop_class_uid)
        transfer.failed(sum(each.uid not in outcome.stored for each in due))
        transfer.end()
        return outcome

    def _standing(self, due: Sequence[Sent], held: dict[str, str]) -> list[Sent]:
        """Return what still stands; end what a later result replaced, hold what is outdated."""
        results = {each.uid: self._journal.result(each.uid) for each in due}
        outdated = self._standings.outdated(tuple(results.values()))
        standing: list[Sent] = []
        for each in due:
            heir = self._standings.heir(results[each.uid])
            if heir is not None:
                self._journal.cancel_delivery(each.item, heir.instance_uid)
            elif each.uid in outdated and each.item.released_at is None:
                held[each.uid] = _said(outdated[each.uid])
            else:
                standing.append(each)
        return standing

    def _committed(self, peer: Destination, items: Sequence[Sent]) -> dict[str, str]:
        """Have what was sent committed to, where that is the proof; return what is left."""
        if not isinstance(peer, Peer) or not peer.commitment:
            return {}
        return self._proofs.committed(peer, [e for e in items if e.item.state == "delivered"])

    def _judge(
        self, peer: Destination, due: Sequence[Sent], outcome: SendOutcome
    ) -> dict[str, str]:
        """Note what the peer took and what it refused; return what is left, and why."""
        if peer.query and not peer.commitment:
            done = self._proofs.listed(peer, due) if outcome.statuses else frozenset()
        else:
            done, how = outcome.stored, "" if peer.commitment else self._way(peer).status
            self._journal.update_deliveries(sorted(done), peer.name, "delivered", proof=how)
        for uid in sorted(outcome.refused - done):
            text = outcome.words(uid)
            _log.warning("delivery_refused", destination=peer.name, instance=uid, problem=text)
            self._journal.update_deliveries([uid], peer.name, "refused", error=text)
        text = outcome.text or "sent, but the destination does not list it"
        left = (each.uid for each in due if each.uid not in done | outcome.refused)
        return dict.fromkeys(left, text)

    def _open(self, results: Sequence[str], destination: str) -> list[Sent]:
        items = filter(_is_open, self._journal.deliveries_of(results, destination))
        found = ((item, self._index.instance(item.instance_uid)) for item in items)
        return [Sent(item=item, instance=stored) for item, stored in found if stored is not None]

    def _again(
        self,
        problems: Mapping[str, str],
        held: Mapping[str, str],
        destination: str,
        *,
        attempt: int,
        since: float,
    ) -> float | None:
        """Note why what is left waits, and return for how long; without a reason it is awaited."""
        if not problems and not held:
            return None
        wait_s = self._pause_s(attempt)
        too_long = time.time() - since > self._settings.delivery.give_up_days * _DAY_S
        states: dict[DeliveryState, Mapping[str, str]] = {"waiting": problems, "held": held}
        for state, reasons in states.items():
            for text in sorted(set(reasons.values()) - {""}):
                _log.warning(
                    "delivery_waits",
                    destination=destination,
                    state=state,
                    retry_in_s=wait_s,
                    problem=text,
                )
                self._journal.update_deliveries(
                    [uid for uid, why in reasons.items() if why == text],
                    destination,
                    "failed" if too_long else state,
                    error=text,
                    retry_in_s=None if too_long else wait_s,
                )
        return None if too_long else wait_s

    def _pause_s(self, attempt: int) -> float:
        limits = self._settings.delivery
        doubled: float = limits.first_retry_s * 2 ** min(attempt, _MOST_DOUBLINGS)
        return min(doubled, limits.longest_retry_s)


def _said(why: Reason) -> str:
    return f"{why.text} ({why.code})"


def _is_open(item: Delivery) -> bool:
    """Whether it must be sent, or was sent and its proof is awaited."""
    return item.state in {"waiting", "held"} or (item.state == "delivered" and not item.proof)
