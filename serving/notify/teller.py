"""Tells other systems what became of studies, until each has said that it knows.

A loop for each target, in one process at a time: a message after the other. What is durable is in
the rows, so whoever dies is followed by another that sends the same bytes under the same id again.
"""

import time
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.scu import Timeouts
from imaging.errors import NotFound, SetupError
from serving.messages import Message, Messages
from serving.notify import kinds
from serving.notify.story import Stories
from serving.notify.target import Target
from serving.notify.told import Told
from serving.sections import DeliverySettings
from serving.slots import Slots, StillHeld

_log = structlog.get_logger(__name__)
_DAY_S = 86400.0
_IDLE_S, _TROUBLE_S, _TIDY_S = 1.0, 5.0, 60.0
_MOST_DOUBLINGS = 20


class Teller:
    """One in each worker; each target has a thread that calls `run`."""

    def __init__(
        self,
        targets: Sequence[Target],
        messages: Messages,
        stories: Stories,
        *,
        limits: DeliverySettings,
        slots: Slots,
    ) -> None:
        self.targets = targets
        self._messages, self._stories = messages, stories
        self._limits, self._slots = limits, slots
        self._timeouts = Timeouts(connect_s=limits.connect_s, reply_s=limits.reply_s)
        self._silent = {target.name for target in targets}  # perhaps: nobody knows yet

    def run(self, target: Target) -> None:
        """Tell a target whatever there is, for ever, unless another process does."""
        while True:
            try:
                with self._slots.taken(f"notify-{target.name}") as still_held:
                    self._go_on(target, still_held)
            except SetupError:  # another process does
                time.sleep(_TROUBLE_S)
            except Exception as error:  # noqa: BLE001 - whatever hinders it may be gone the next time
                _log.error("notifications_stop", target=target.name, error=type(error).__name__)
                time.sleep(_TROUBLE_S)

    def tidy(self) -> None:
        """Give up for ever what waits too long for targets that are no longer configured."""
        while True:
            try:
                self._messages.give_up(planned_before=time.time() - self._longest_s)
            except SQLAlchemyError:
                _log.exception("notifications_untidy")
            time.sleep(_TIDY_S)

    def _go_on(self, target: Target, still_held: StillHeld) -> None:
        while still_held():
            time.sleep(self.tell(target))

    def tell(self, target: Target) -> float:
        """Send what is due next; return how many seconds to wait before the one after it."""
        message = self._messages.due(target.name)
        if message is None:
            return _IDLE_S
        told = self._attempt(target, message)
        self._note(message, told)
        if told.verdict == "waiting" and not told.answer:
            self._silent.add(target.name)
            return self._limits.look_s
        if target.name in self._silent:  # it answers: who got no answer need not wait longer
            self._silent.remove(target.name)
            self._messages.hurry(target.name)
        return 0.0

    def _attempt(self, target: Target, message: Message) -> Told:
        body = self._body(target, message)
        if isinstance(body, Told):
            return body
        return kinds.send(target, message, body, timeouts=self._timeouts)

    def _body(self, target: Target, message: Message) -> bytes | Told:
        """Return what is sent, stored before it is; or why there is nothing to send."""
        try:
            if (kept := self._messages.body(message)) is not None:
                return kept
            body = kinds.composed(self._stories.of(message), target)
        except NotFound:
            return Told(verdict="refused", words="the study is not here any more")
        except (ValueError, TypeError, LookupError) as error:  # none of it holds up the others
            why = f"{type(error).__name__}, which is a fault of Wetread"
            return Told(verdict="waiting", answer="not composed", words=why)
        if isinstance(body, bytes):
            self._messages.keep(message, body)
        return body

    def _note(self, message: Message, told: Told) -> None:
        log = _log.info if told.verdict == "delivered" else _log.warning
        log(
            f"notification_{told.verdict}",
            target=message.target,
            study=message.study_uid,
            message=message.message_id,
            answer=told.answer,
        )
        if told.verdict != "waiting":
            self._messages.note(message, told.verdict, answer=told.answer, words=told.words)
            return
        too_long = time.time() - message.planned_at > self._longest_s
        self._messages.note(
            message,
            "failed" if too_long else "waiting",
            answer=told.answer,
            words=told.words,
            retry_in_s=None if too_long else max(self._pause_s(message.attempts), told.retry_in_s),
        )

    @property
    def _longest_s(self) -> float:
        return self._limits.give_up_days * _DAY_S

    def _pause_s(self, attempts: int) -> float:
        doubled: float = self._limits.first_retry_s * 2 ** min(attempts, _MOST_DOUBLINGS)
        return min(doubled, self._limits.longest_retry_s)
