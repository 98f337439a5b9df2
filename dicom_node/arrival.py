"""When is a study complete? The PACS is asked; only without an answer does a quiet time decide."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.asking import NoAnswerError
from dicom_node.index import Index
from dicom_node.records import Completeness, Completion, StudyRow
from imaging.errors import WetreadError

_log = logging.getLogger(__name__)
_FAILURES = (WetreadError, SQLAlchemyError, OSError)
Ask = Callable[[StudyRow], Mapping[str, int] | None]
Resend = Callable[[StudyRow, Sequence[str]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalSettings:
    """Seconds. `quiet_s`: where nobody can be asked, a study this long without news is complete.

    A PACS that takes questions and gives no answer may be down, and its images wait with it: then
    `away_s` decides. A PACS that does not know the study counts as nobody.

    With an answer, what has begun to arrive and stopped for `quiet_s` is asked for again, and
    series of which nothing came are no longer waited for. `limit_s`: longest wait for what the PACS
    says is missing. A study is asked about when an association ends or `settle_s` after its last
    instance, then ever less often up to `longest_ask_s`.
    """

    quiet_s: float = 10.0
    away_s: float = 120.0
    limit_s: float = 1800.0
    poll_s: float = 0.25
    settle_s: float = 2.0
    longest_ask_s: float = 60.0
    retry_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteStudy:
    """A study to analyse. `short` maps series UIDs to (instances here, instances expected)."""

    study_uid: str
    content_digest: str
    completeness: Completeness
    text: str
    short: Mapping[str, tuple[int, int]]


@dataclass(slots=True, kw_only=True)
class _Watch:
    """What is known of a study since its last new instance."""

    received: int
    ask_at: float
    wait_s: float
    answer: Mapping[str, int] | None = None
    silent: bool = False
    rest_until: float = 0.0
    resend_at: float = 0.0
    resend_wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    completeness: Completeness
    text: str
    short: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Arrival:
    """Watches every study that is receiving, in a thread of its own.

    `ask` gives the number of instances of each series, ``None`` if nobody can say, and raises
    `NoAnswerError` while those who could are silent; `resend` has series sent again. `on_complete`
    is called before the study is closed, so perhaps more than once: it must bear repetition. It may
    put the closing off by returning ``False``.
    """

    def __init__(
        self,
        index: Index,
        ask: Ask,
        on_complete: Callable[[CompleteStudy], bool | None],
        *,
        resend: Resend | None = None,
        settings: ArrivalSettings,
        clock: Callable[[], float],
    ) -> None:
        self._index, self._ask, self._on_complete = index, ask, on_complete
        self._resend = resend
        self._settings, self._clock = settings, clock
        self._watches: dict[str, _Watch] = {}
        self._woken: set[str] = set()
        self._lock, self._wake, self._stopping = threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="arrival", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Watch from now on; studies that were receiving when a process ended are taken up."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch; returns when the study in hand is done with."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def wake(self, study_uids: Iterable[str]) -> None:
        """Look at these studies now: an association that brought some of them has ended."""
        with self._lock:
            self._woken.update(study_uids)
        self._wake.set()

    def step(self) -> None:
        """Look once at every study that is receiving."""
        with self._lock:
            woken, self._woken = self._woken, set()
        receiving = [s for s in self._index.receiving_studies() if s.received]
        watches = {study.study_uid: self._watch(study) for study in receiving}
        self._watches = watches
        for study in receiving:
            watch = watches[study.study_uid]
            if study.study_uid in woken:
                watch.ask_at = watch.rest_until = self._clock()
            if self._clock() >= watch.rest_until:
                self._try(study, watch)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self.step()
            except _FAILURES:
                _log.exception("the studies cannot be looked at")
            self._wake.wait(self._settings.poll_s)
            self._wake.clear()

    def _watch(self, study: StudyRow) -> _Watch:
        watch = self._watches.get(study.study_uid)
        if watch is not None and watch.received == study.received:
            return watch
        settle_s = self._settings.settle_s
        ask_at = study.last_received_at + settle_s
        return _Watch(received=study.received, ask_at=ask_at, wait_s=settle_s)

    def _try(self, study: StudyRow, watch: _Watch) -> None:
        try:
            self._consider(study, watch)
        except _FAILURES:
            _log.exception("arrival fails", extra={"study": study.study_uid})
            watch.rest_until = self._clock() + self._settings.retry_s

    def _consider(self, study: StudyRow, watch: _Watch) -> None:
        now = self._clock()
        if now >= watch.ask_at:
            self._inquire(study, watch)
            watch.ask_at = now + watch.wait_s
            watch.wait_s = min(2 * watch.wait_s, self._settings.longest_ask_s)
        verdict = self._verdict(study, watch)
        if verdict is not None:
            self._complete(study, verdict)
        elif watch.answer is not None:
            self._ask_again(study, watch, watch.answer)

    def _inquire(self, study: StudyRow, watch: _Watch) -> None:
        try:
            watch.answer, watch.silent = self._ask(study) or watch.answer, False
        except NoAnswerError:  # no pause grows meanwhile: whoever asks lets silent peers rest
            watch.silent, watch.wait_s = True, self._settings.settle_s

    def _ask_again(self, study: StudyRow, watch: _Watch, answer: Mapping[str, int]) -> None:
        """Have series that stopped in the middle sent again, ever less often."""
        now, quiet_s = self._clock(), self._settings.quiet_s
        begun = _begun(self._shortfall(study.study_uid, answer))
        if not begun or not self._resend or now < study.last_received_at + quiet_s:
            return
        if now >= watch.resend_at:
            watch.resend_wait_s = min(2 * watch.resend_wait_s or quiet_s, self._settings.limit_s)
            watch.resend_at = now + watch.resend_wait_s
            self._resend(study, sorted(begun))

    def _verdict(self, study: StudyRow, watch: _Watch) -> _Verdict | None:
        still_s, settings = self._clock() - study.last_received_at, self._settings
        if watch.answer is None:
            quiet_s = max(settings.quiet_s, settings.away_s) if watch.silent else settings.quiet_s
            text = f"the PACS gave no answer; nothing new for {quiet_s:g} s"
            verdict = _Verdict(completeness="quiet", text=text)
            return verdict if still_s >= quiet_s else None
        short = self._shortfall(study.study_uid, watch.answer)
        if not short:
            return _Verdict(completeness="confirmed", text="the PACS counts the same instances")
        if not _begun(short):
            text = f"each series that came is complete; {len(short)} other series were not sent"
            verdict = _Verdict(completeness="confirmed", text=text)
            return verdict if still_s >= settings.quiet_s else None
        verdict = _Verdict(completeness="limit", text=self._limit_text(short), short=short)
        return verdict if still_s >= settings.limit_s else None

    def _shortfall(
        self, study_uid: str, answer: Mapping[str, int]
    ) -> Mapping[str, tuple[int, int]]:
        """Return what the PACS has more of than we received; series that we made do not count."""
        have = self._index.received_counts(study_uid)
        ours = self._index.result_series(study_uid)
        expected = {uid: answer[uid] for uid in answer.keys() - ours}
        return {
            uid: (have.get(uid, 0), count)
            for uid, count in sorted(expected.items())
            if count > have.get(uid, 0)
        }

    def _limit_text(self, short: Mapping[str, tuple[int, int]]) -> str:
        counts = ", ".join(f"{here} of {expected}" for here, expected in short.values())
        return f"not all arrived within {self._settings.limit_s:g} s; incomplete series: {counts}"

    def _complete(self, study: StudyRow, verdict: _Verdict) -> None:
        digest = self._index.content_digest(study.study_uid)
        found = CompleteStudy(
            study_uid=study.study_uid,
            content_digest=digest,
            completeness=verdict.completeness,
            text=verdict.text,
            short=verdict.short,
        )
        if self._on_complete(found) is False:
            return
        completion = Completion(
            study_uid=study.study_uid,
            received=study.received,
            completeness=verdict.completeness,
            text=verdict.text,
            content_digest=digest,
            at=self._clock(),
        )
        if self._index.mark_complete(completion):
            _log.info(
                "study complete",
                extra={"study": study.study_uid, "completeness": verdict.completeness},
            )


def _begun(short: Mapping[str, tuple[int, int]]) -> Mapping[str, tuple[int, int]]:
    """Leave out series of which nothing came: the sender may not want them read."""
    return {uid: counts for uid, counts in short.items() if counts[0]}
