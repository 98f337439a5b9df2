"""Stages of the installed versions of a model: a file with a line for each change, never rewritten.

The last whole line holds the state, so a change happens at once or not at all: a line that was cut
short by a kill does not count, and the next change takes its place.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from imaging.errors import Conflict, NotFound

SUFFIX = ".history"


class Stage(StrEnum):
    """What an installed version is there for."""

    CANDIDATE = "candidate"  # installed, reads nothing yet
    SHADOW = "shadow"  # reads the same studies as the served one, unseen, to be compared
    SERVED = "served"  # reads studies; one version of a model at most
    RETIRED = "retired"  # was replaced; kept for the way back


class Version(BaseModel):
    """One installed version, in the subfolder `folder`."""

    model_config = ConfigDict(frozen=True)

    digest: str = Field(examples=["1f0c9a77b2e4"])
    version: str = Field(examples=["1.1"])
    folder: str = Field(examples=["brain-extraction@1f0c9a77b2e4"])
    stage: Stage


class Change(BaseModel):
    """Who changed what, when and why; `versions` are all of the model afterwards."""

    model_config = ConfigDict(frozen=True)

    at: float = Field(examples=[1767225600.0])
    who: str = Field(examples=["rita"])
    action: str = Field(
        examples=["promote"]
    )  # found | add | shadow | stop | promote | rollback | retire | remove
    why: str = Field(examples=["fewer misses"])
    versions: tuple[Version, ...] = Field(examples=[[]])
    evidence: str = ""  # digest of the report that a promotion rests on; none: it was overridden

    @property
    def served(self) -> Version | None:
        """The version that reads studies from here on."""
        return next((v for v in self.versions if v.stage is Stage.SERVED), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who asks for a change, why, when, and on which evidence."""

    who: str = ""
    why: str = ""
    evidence: str = ""
    at: float = field(default_factory=time.time)

    def change(self, action: str, versions: Sequence[Version]) -> Change:
        """Return what to record."""
        return Change(
            at=self.at,
            who=self.who,
            action=action,
            why=self.why,
            versions=tuple(versions),
            evidence=self.evidence,
        )


@dataclass(frozen=True, slots=True)
class History:
    """The changes of one model in the file `path`; none while it only ever had one version."""

    path: Path

    def changes(self) -> tuple[Change, ...]:
        """Return every change, oldest first."""
        return tuple(map(Change.model_validate_json, self._whole_lines()))

    def versions(self) -> tuple[Version, ...]:
        """Return what is installed now."""
        lines = self._whole_lines()
        return Change.model_validate_json(lines[-1]).versions if lines else ()

    def append(self, *changes: Change) -> None:
        """Record changes; they are on the disk when this returns."""
        lines = [line + "\n" for line in self._whole_lines()]
        with self.path.open("ab") as file:
            file.truncate(sum(len(line.encode()) for line in lines))
            file.write("".join(f"{each.model_dump_json()}\n" for each in changes).encode())
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _whole_lines(self) -> list[str]:
        if not self.path.is_file():
            return []
        return self.path.read_text(encoding="utf-8").split("\n")[:-1]


def found(versions: Sequence[Version], wanted: str, *, name: str) -> Version:
    """Return the one with this version number or with a digest that begins so.

    Raises
    ------
    NotFound
        There is none.
    Conflict
        There are several.
    """
    exact = [v for v in versions if v.digest == wanted]
    fitting = exact or [v for v in versions if wanted and _fits(v, wanted)]
    if not fitting:
        msg = f"there is no version {wanted!r} of {name}"
        raise NotFound(msg)
    if len(fitting) > 1:
        msg = f"several versions of {name} are {wanted}: name one by its digest"
        raise Conflict(msg)
    return fitting[0]


def _fits(version: Version, wanted: str) -> bool:
    return version.version == wanted or version.digest.startswith(wanted)


def staged(versions: Sequence[Version], digest: str, stage: Stage) -> tuple[Version, ...]:
    """Return the versions with one of them in another stage; what was served before it retires."""
    return tuple(
        v.model_copy(update={"stage": stage})
        if v.digest == digest
        else v.model_copy(update={"stage": Stage.RETIRED})
        if stage is Stage.SERVED and v.stage is Stage.SERVED
        else v
        for v in versions
    )


def served_last(versions: Sequence[Version], changes: Sequence[Change]) -> Version | None:
    """Return what a promotion is measured against: the served version, else the last that was."""
    ever = [change.served for change in changes if change.served]
    return ever[-1] if ever else next((v for v in versions if v.stage is Stage.SERVED), None)


def shadow_since(changes: Sequence[Change], digest: str) -> float | None:
    """Return since when a version is a shadow without a break; ``None`` when it is none."""
    since: float | None = None
    for change in changes:
        stage = next((v.stage for v in change.versions if v.digest == digest), None)
        if stage is not Stage.SHADOW:
            since = None
        elif since is None:
            since = change.at
    return since


def served_before(changes: Sequence[Change], *, name: str) -> Version:
    """Return the version to go back to: going back twice goes back two versions.

    Raises
    ------
    Conflict
        None was served before, or none of those is installed any more.
    """
    served: list[str] = []
    for change in changes:
        digest = change.served.digest if change.served else ""
        if change.action == "rollback":
            while served and served[-1] != digest:
                served.pop()
        elif digest and served[-1:] != [digest]:
            served.append(digest)
    now = changes[-1] if changes else None
    if now and now.served:
        served.pop()
    installed = {v.digest: v for v in now.versions} if now else {}
    for digest in reversed(served):
        if digest in installed:
            return installed[digest]
    msg = f"no other version of {name} was served before"
    raise Conflict(msg)
