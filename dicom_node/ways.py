"""The way to a destination: DIMSE to an application entity, or DICOMweb to a service."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydicom import Dataset

from dicom_node import delivery, scu, stow
from dicom_node.outcome import SendOutcome
from dicom_node.peers import Peer
from dicom_node.scu import Timeouts
from dicom_node.web_peers import WebPeer
from imaging.findings import ObjectRef
from imaging.identity import AETitle

Destination = Peer | WebPeer


class Way(Protocol):
    """What can be done with any destination."""

    @property
    def how(self) -> str:
        """Name of the query that is the proof."""

    @property
    def status(self) -> str:
        """Name of the only word there is of a destination that cannot be asked."""

    def probe(self) -> str | None:
        """Return what is wrong, ``None`` when the destination answers."""

    def send(self, paths: Sequence[Path]) -> SendOutcome:
        """Bring Part 10 files there."""

    def listed(self, refs: Sequence[ObjectRef]) -> frozenset[str]:
        """Return those of `refs` that the destination says it has."""

    def study(self, study_uid: str) -> tuple[Dataset, ...] | None:
        """Return what the destination says of a study; ``None`` when it gives no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DimseWay:
    """To an application entity."""

    peer: Peer
    ae_title: AETitle
    timeouts: Timeouts
    how: str = "C-FIND"
    status: str = "C-STORE status"

    def probe(self) -> str | None:
        """C-ECHO; it must be answered as soon as a connection."""
        connect_s = self.timeouts.connect_s
        quick = Timeouts(connect_s=connect_s, reply_s=connect_s)
        return scu.echo(self.peer, ae_title=self.ae_title, timeouts=quick)

    def send(self, paths: Sequence[Path]) -> SendOutcome:
        """C-STORE."""
        return delivery.send(self.peer, paths, ae_title=self.ae_title, timeouts=self.timeouts)

    def listed(self, refs: Sequence[ObjectRef]) -> frozenset[str]:
        """C-FIND."""
        return delivery.proof(self.peer, refs, ae_title=self.ae_title, timeouts=self.timeouts)

    def study(self, study_uid: str) -> tuple[Dataset, ...] | None:
        """C-FIND."""
        title, timeouts = self.ae_title, self.timeouts
        return scu.study_answers(self.peer, study_uid, ae_title=title, timeouts=timeouts)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebWay:
    """To a DICOMweb service."""

    peer: WebPeer
    timeouts: Timeouts
    how: str = "QIDO-RS"
    status: str = "STOW-RS status"

    def probe(self) -> str | None:
        """QIDO-RS for nothing."""
        connect_s = self.timeouts.connect_s
        return stow.probe(self.peer, timeouts=Timeouts(connect_s=connect_s, reply_s=connect_s))

    def send(self, paths: Sequence[Path]) -> SendOutcome:
        """STOW-RS."""
        return stow.send(self.peer, paths, timeouts=self.timeouts)

    def listed(self, refs: Sequence[ObjectRef]) -> frozenset[str]:
        """QIDO-RS."""
        return stow.listed(self.peer, refs, timeouts=self.timeouts)

    def study(self, study_uid: str) -> tuple[Dataset, ...] | None:
        """QIDO-RS."""
        return stow.study_answers(self.peer, study_uid, timeouts=self.timeouts)


def way_to(destination: Destination, *, ae_title: AETitle, timeouts: Timeouts) -> Way:
    """Return the way to a destination."""
    if isinstance(destination, WebPeer):
        return WebWay(peer=destination, timeouts=timeouts)
    return DimseWay(peer=destination, ae_title=ae_title, timeouts=timeouts)
