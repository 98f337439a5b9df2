"""What the demo wants of a PACS, whichever it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imaging.identity import AETitle


@dataclass(frozen=True, slots=True, kw_only=True)
class PacsPlan:
    """Where the PACS keeps its data, its ports, whom it forwards to, and who else may send."""

    folder: Path
    dicom_port: int
    http_port: int
    forward_to: AETitle
    forward_port: int
    senders: tuple[AETitle, ...] = ()


class Pacs(Protocol):
    """A running PACS that forwards what it gets."""

    name: str
    ae_title: AETitle

    @property
    def dicom_port(self) -> int:
        """Port of its DICOM listener on loopback."""

    def store(self, paths: Iterable[Path]) -> None:
        """Put the Part 10 files of a study into the PACS, which then forwards the study."""

    def instances(self, study_uid: str) -> frozenset[str]:
        """Return the SOP Instance UIDs it finds for a study."""

    def addresses(self, study_uid: str) -> tuple[str, ...]:
        """Return where a person can look at the study in the PACS."""

    def stop(self) -> None:
        """End it."""
