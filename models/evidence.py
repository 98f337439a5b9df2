"""What shows that a version is not worse than the served one: a report, bound to both by digest.

A report lies beside the packages. It counts while its content has its digest, its two versions are
those in question, and it was judged by the margins that hold now.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imaging.errors import Conflict
from models.stages import Version

OVERRIDDEN = "none"
_SHOWN = 12


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Margins(_Record):
    """How much worse a candidate may be than the served version, and what counts as shown."""

    dice: float = Field(0.01, ge=0, description="the mean Dice of a structure may fall by so much")
    log_loss: float = Field(0.02, ge=0, description="the mean log loss may rise by so much")
    auroc: float = Field(0.01, ge=0, description="the AUROC of a class may fall by so much")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the one-sided bounds")
    patients: int = Field(20, ge=2, description="least patients of a comparison")
    group_patients: int = Field(10, ge=2, description="least patients of a group that is judged")
    groups: tuple[str, ...] = Field(
        ("sex", "age_band", "scanner"), description="kinds of groups: sex, age_band, scanner, site"
    )
    provenance: bool = Field(
        default=False, description="refuse candidates that do not say whom they learnt from"
    )


class Compared(_Record):
    """One measure in one group; `gain` is positive where the candidate is better.

    `low` is the one-sided bound of the gain; ``None`` where too few patients allow one.
    """

    measure: str
    group: str
    cases: int
    patients: int
    candidate: float
    served: float
    gain: float
    low: float | None
    margin: float
    judged: bool

    @property
    def is_worse(self) -> bool:
        """Whether it is judged, and it is not shown that the candidate keeps within the margin."""
        return self.judged and (self.low is None or self.low < -self.margin)


class Pair(_Record):
    """What both versions reached in one case of the test set."""

    case: str
    patient: str
    measure: str
    candidate: float
    served: float


class Evidence(_Record):
    """A comparison of two versions on one locked test set; `refused` are the reasons against.

    `silent` are the cases that a version gave no full answer to.
    """

    model: str
    candidate: str
    served: str
    dataset: str
    dataset_version: str
    split: str
    margins: Margins
    at: float
    who: str
    cases: int
    silent: Mapping[str, int]
    rows: tuple[Compared, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    refused: tuple[str, ...]
    digest: str = ""

    def sealed(self) -> "Evidence":
        """Return it with the digest of its content."""
        return self.model_copy(update={"digest": content_digest(self.model_dump(mode="json"))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a promotion must show; an empty `dataset_version` leaves the test set open."""

    margins: Margins
    dataset_version: str = ""

    def objections(self, evidence: Evidence, candidate: Version, served: Version) -> list[str]:
        """Return everything that keeps a report from allowing this promotion."""
        found = list(evidence.refused)
        if evidence != evidence.sealed():
            found.append("the report was altered")
        if (evidence.candidate, evidence.served) != (candidate.digest, served.digest):
            found.append("the report is about other versions")
        if evidence.margins != self.margins:
            found.append("the report was judged by other margins than the settings have now")
        if self.dataset_version not in {"", evidence.dataset_version}:
            found.append("the report is about another data set than the one that is locked")
        return found


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON content, without its own entry `digest`."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def evidence_path(folder: Path, name: str, *, candidate: str, served: str) -> Path:
    """Return where the report on two versions lies; the page beside it ends in .html."""
    return folder / f"{name}@{candidate[:_SHOWN]}+{served[:_SHOWN]}.json"


def write_evidence(folder: Path, evidence: Evidence, page: str) -> Path:
    """Keep a sealed report and its page, in the place of an earlier one of the same versions."""
    path = evidence_path(
        folder, evidence.model, candidate=evidence.candidate, served=evidence.served
    )
    for target, text in (
        (path.with_suffix(".html"), page),
        (path, evidence.model_dump_json(indent=1) + "\n"),
    ):
        temporary = target.with_name(f".{target.name}")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    return path


def grounds(
    folder: Path, name: str, candidate: Version, *, served: Version | None, gate: Gate
) -> str:
    """Return the digest of the report that allows a promotion; empty where none is needed.

    Raises
    ------
    Conflict
        There is none, or it speaks against it; with every reason.
    """
    if served is None or served.digest == candidate.digest:
        return ""
    path = evidence_path(folder, name, candidate=candidate.digest, served=served.digest)
    named = [f"{v.version} ({v.digest[:_SHOWN]})" for v in (candidate, served)]
    if not path.is_file():
        msg = (
            f"nothing shows that {name} {named[0]} is not worse than {named[1]}: "
            f"python -m scripts.promote {name} {candidate.digest[:_SHOWN]} --dataset FOLDER "
            "compares them"
        )
        raise Conflict(msg)
    try:
        evidence = Evidence.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"the report {path.name} cannot be read: make it anew"
        raise Conflict(msg) from error
    if objections := gate.objections(evidence, candidate, served):
        msg = "\n".join([f"{name} {named[0]} is not promoted over {named[1]}:", *objections])
        raise Conflict(msg)
    return evidence.digest
