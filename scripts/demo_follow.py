"""Follows one study through Wetread's REST interface until its results are delivered."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console

from imaging.errors import SetupError
from scripts.demo_answer import current_results
from scripts.loopback import HttpError, get_json
from serving.study_view import StudyDetail

_POLL_S = 0.2
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A study at its end; `last_slice_at` is when its last image came in, Unix seconds."""

    detail: StudyDetail
    last_slice_at: float


class Follower:
    """Asks Wetread on `port` and tells `console` what it does; `check` raises when it has died."""

    def __init__(self, port: int, console: Console, check: Callable[[], None]) -> None:
        self._port, self._console, self._check = port, console, check

    def follow(self, study_uid: str, *, images: int, limit_s: float) -> Followed:
        """Return the study once all its results are delivered or it has failed.

        Raises
        ------
        SetupError
            It takes longer than `limit_s`.
        """
        last_slice_at, said = 0.0, ""
        with self._console.status("the PACS waits for the study to be stable") as status:
            for detail in self._polled(study_uid, limit_s):
                status.update(_words(detail, images))
                said = self._say(detail.state, said)
                if detail.state != "receiving":
                    # Later our own results may come back from the PACS and count as received.
                    last_slice_at = last_slice_at or detail.last_received_at
                if _settled(detail):
                    return Followed(detail=detail, last_slice_at=last_slice_at)
        msg = f"study {study_uid} was not ready in {limit_s:.0f} s; last: {said or 'not forwarded'}"
        raise SetupError(msg)

    def _polled(self, study_uid: str, limit_s: float) -> Iterator[StudyDetail]:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            self._check()
            if detail := self._ask(study_uid):
                yield detail
            time.sleep(_POLL_S)

    def _say(self, state: str, said: str) -> str:
        """Print a new state where no status line shows it."""
        if state != said and not self._console.is_terminal:
            self._console.print(f"  {state}")
        return state

    def _ask(self, study_uid: str) -> StudyDetail | None:
        try:
            return StudyDetail.model_validate(get_json(self._port, f"/api/studies/{study_uid}"))
        except HttpError as error:
            if error.status == _NOT_FOUND:
                return None
            raise


def _words(detail: StudyDetail, images: int) -> str:
    received = sum(series.instances - series.results for series in detail.series)
    stage = detail.workitems[0].stage if detail.workitems else ""
    return f"{detail.state}: {min(received, images)} of {images} images received; {stage or '-'}"


def _settled(detail: StudyDetail) -> bool:
    """Whether nothing more happens: it failed, or every result has a proven delivery.

    Deliveries are planned shortly after the analysis is recorded as done: so "done" is not enough.
    """
    proven = {each.instance_uid for each in detail.deliveries if each.state == "proven"}
    results = {result.instance_uid for result in current_results(detail)}
    return detail.state == "failed" or (
        detail.state == "done" and bool(results) and results <= proven
    )
