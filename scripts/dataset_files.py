"""A data set for training as a folder: its cases, its files, and whether both are whole.

``docs/datasets.md`` describes the format. Who writes a data set calls `save`; all others `load`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from imaging.errors import SetupError
from serving.records import CodeRecord

DESCRIPTION = "dataset.json"
FORMAT: Literal[1] = 1
SPLITS = ("train", "validation", "test")
Split = Literal["train", "validation", "test"]
_CHUNK = 1 << 20


class DatasetInvalid(SetupError):
    """The data set is damaged or breaks its own rules."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Label(_Strict):
    """What a value of the label images, or a class, stands for."""

    value: int = Field(ge=1)
    name: str
    code: CodeRecord | None = None


class Provenance(_Strict):
    """Where a case comes from; none of it leads to a person without the key."""

    model: str = ""
    model_version: str = ""
    model_digest: str = ""
    verdict: Literal["accepted", "corrected", "rejected"]
    reason: str = ""
    assessments: tuple[int, ...] = ()
    readers: tuple[str, ...] = ()
    results: Mapping[str, str] = {}


class Case(_Strict):
    """One assessed image: paths are relative to the folder, digests are SHA-256 by path."""

    id: str = Field(min_length=1)
    patient: str = Field(min_length=1)
    image: str
    label: str | None = None
    target: str | None = None
    attributes: Mapping[str, str] = {}
    split: Split
    provenance: Provenance
    files: Mapping[str, str]

    @field_validator("image", "label")
    @classmethod
    def _inside(cls, path: str | None) -> str | None:
        if path is not None:
            _check_inside(path)
        return path

    @field_validator("files")
    @classmethod
    def _all_inside(cls, files: Mapping[str, str]) -> Mapping[str, str]:
        for path in files:
            _check_inside(path)
        return files


class Dataset(_Strict):
    """The whole of a data set; `version` is the digest of all else."""

    format: Literal[1] = FORMAT
    name: str
    labels: tuple[Label, ...] = ()
    targets: tuple[str, ...] = ()
    options: Mapping[str, str] = {}
    cases: tuple[Case, ...]
    version: str = ""

    def of_split(self, split: Split) -> Iterator[Case]:
        """Yield the cases of one split, in their order."""
        return (case for case in self.cases if case.split == split)


def digest(dataset: Dataset) -> str:
    """Return the version that belongs to the content: names, options, cases and their files."""
    content = dataset.model_copy(update={"version": ""})
    ordered = content.model_copy(update={"cases": tuple(sorted(content.cases, key=_by_id))})
    return hashlib.sha256(ordered.model_dump_json().encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def save(folder: Path, dataset: Dataset) -> Dataset:
    """Write the description, at once or not at all, and return it with its version.

    Raises
    ------
    DatasetInvalid
        It breaks a rule; nothing is written.
    """
    whole = dataset.model_copy(update={"version": digest(dataset)})
    _refuse(contradictions(whole))
    temporary = folder / f".{DESCRIPTION}"
    temporary.write_text(whole.model_dump_json(indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / DESCRIPTION)
    return whole


def load(folder: Path) -> Dataset:
    """Return the data set of a folder, its rules checked; `verify` looks at every file too.

    Raises
    ------
    DatasetInvalid
        There is none, it cannot be understood, or it breaks a rule.
    """
    try:
        text = (folder / DESCRIPTION).read_text(encoding="utf-8")
        dataset = Dataset.model_validate_json(text)
    except OSError as error:
        msg = f"{folder} has no {DESCRIPTION} that can be read"
        raise DatasetInvalid(msg) from error
    except (ValidationError, UnicodeDecodeError) as error:
        msg = f"{folder / DESCRIPTION}: {error}"
        raise DatasetInvalid(msg) from error
    _refuse(contradictions(dataset))
    return dataset


def contradictions(dataset: Dataset) -> tuple[str, ...]:
    """Return every rule that a data set breaks, whatever its files are."""
    found = [] if dataset.version == digest(dataset) else ["the version is not that of the content"]
    ids = (case.id for case in dataset.cases)
    found += [f"two cases are called {i}" for i, times in Counter(ids).items() if times > 1]
    splits: dict[str, set[str]] = defaultdict(set)
    for case in dataset.cases:
        splits[case.patient].add(case.split)
        found += _about(case, dataset)
    found += [
        f"patient {patient} is in {' and '.join(sorted(there))}"
        for patient, there in sorted(splits.items())
        if len(there) > 1
    ]
    return tuple(found)


def verify(folder: Path, dataset: Dataset) -> Iterator[str]:
    """Yield what is wrong with the files: missing, or other than when the data set was made."""
    for case in dataset.cases:
        for name, expected in case.files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                yield f"{name} leads out of the data set"
            elif not path.is_file():
                yield f"{name} is missing"
            elif file_digest(path) != expected:
                yield f"{name} was changed"


def _about(case: Case, dataset: Dataset) -> Iterator[str]:
    for path in filter(None, (case.image, case.label)):
        if path not in case.files:
            yield f"case {case.id}: {path} has no digest"
    if case.label is None and case.target is None:
        yield f"case {case.id} has neither a label image nor a class"
    if case.target is not None and case.target not in dataset.targets:
        yield f"case {case.id}: the data set has no class {case.target!r}"


def _by_id(case: Case) -> str:
    return case.id


def _check_inside(path: str) -> None:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts or "\\" in path:
        msg = f"{path!r} is not a path within the data set"
        raise ValueError(msg)


def _refuse(problems: tuple[str, ...]) -> None:
    if problems:
        raise DatasetInvalid("; ".join(problems))
