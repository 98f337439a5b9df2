"""REST under /api/models: the versions of a model, who changed them, and how a shadow agrees."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from imaging.errors import RequestError
from models.evidence import Gate
from models.stages import By, Change, Version, found
from serving.api import PROBLEM, RegistryDep
from serving.current_user import CurrentUser
from serving.monitoring.watch import Place, Watch
from serving.shadow.readings import ShadowReadings
from serving.shadow.statistics import Figures
from serving.shadow.versions import comparisons

router = APIRouter(prefix="/api/models", tags=["models"])
_PROBLEMS: dict[int | str, dict[str, Any]] = {404: PROBLEM, 409: PROBLEM}


def _readings(request: Request) -> ShadowReadings:
    readings: ShadowReadings = request.app.state.shadow_readings
    return readings


def _gates(request: Request) -> Callable[[str], Gate]:
    gates: Callable[[str], Gate] = request.app.state.gates
    return gates


def _watch(request: Request) -> Watch:
    watch: Watch = request.app.state.watch
    return watch


WatchDep = Annotated[Watch, Depends(_watch)]
ReadingsDep = Annotated[ShadowReadings, Depends(_readings)]
GatesDep = Annotated[Callable[[str], Gate], Depends(_gates)]
Wanted = Annotated[
    str, Query(min_length=1, description="version number, or the beginning of its digest")
]
Why = Annotated[str, Query(description="the reason, for history and audit trail")]


@router.get("/{name}/versions", responses={404: PROBLEM})
def list_versions(name: str, registry: RegistryDep) -> list[Version]:
    """List the installed versions of a model with their stages, oldest first."""
    return list(registry.versions(name))


@router.get("/{name}/history", responses={404: PROBLEM})
def list_history(name: str, registry: RegistryDep) -> list[Change]:
    """List who changed which version of a model is served, oldest first."""
    return list(registry.history(name))


@router.get("/{name}/comparison", responses={404: PROBLEM, 409: PROBLEM})
def get_comparison(
    name: str, registry: RegistryDep, readings: ReadingsDep, *, version: str = ""
) -> list[Figures]:
    """Return how versions that read in the shadow agree with the served one."""
    return list(comparisons(registry, readings, name, wanted=version))


@router.get("/{name}/monitoring", responses={404: PROBLEM})
def get_monitoring(name: str, registry: RegistryDep, watch: WatchDep) -> list[Place]:
    """Return what each version did on each scanner and protocol, and what has changed there."""
    registry.versions(name)
    return list(watch.of(name))


@router.post("/{name}/promote", responses=_PROBLEMS)
def promote_version(  # noqa: PLR0913 - two of them are those who ask and who answers
    name: str,
    version: Wanted,
    registry: RegistryDep,
    *,
    gates: GatesDep,
    user: CurrentUser,
    why: Why = "",
    without_evidence: Annotated[
        str | None, Query(description="the reason to do without a report of the gate")
    ] = None,
) -> Version:
    """Serve another version from the next study on, if a report of the gate allows it."""
    if without_evidence is not None and not without_evidence.strip():
        msg = "without_evidence needs a reason"
        raise RequestError(msg)
    by = By(who=user.name, why="; ".join(filter(None, (without_evidence, why))))
    gate = gates(name) if without_evidence is None else None
    return registry.promote(name, version, by, gate=gate)


@router.post("/{name}/rollback", responses=_PROBLEMS)
def roll_back(name: str, registry: RegistryDep, user: CurrentUser, *, why: Why = "") -> Version:
    """Serve again the version that was served before."""
    return registry.rollback(name, By(who=user.name, why=why))


@router.post("/{name}/retire", responses=_PROBLEMS)
def retire_version(
    name: str, version: Wanted, registry: RegistryDep, *, user: CurrentUser, why: Why = ""
) -> Version:
    """Let a version read nothing more."""
    return registry.retire(name, version, By(who=user.name, why=why))


@router.post("/{name}/shadow", responses=_PROBLEMS)
def shadow_version(
    name: str,
    version: Wanted,
    registry: RegistryDep,
    *,
    user: CurrentUser,
    stop: Annotated[bool, Query(description="no more")] = False,
    why: Why = "",
) -> Version:
    """Let a version read what the served one reads, unseen, to be compared with it."""
    digest = found(registry.versions(name), version, name=name).digest
    return registry.shadow(name, digest, By(who=user.name, why=why), stop=stop)
