"""`wetread models promote, rollback, retire, history`: which version of a model reads studies."""

from datetime import UTC, datetime

from dicom_node.audit.kinds import Kind
from imaging.errors import RequestError
from models.package import Package
from models.registry import Registry
from models.stages import By, Stage, Version, found
from serving.commands.audit import told
from serving.commands.tables import empty_table, output
from serving.parts import Parts, account
from serving.settings import Settings

DIGEST_SHOWN = 12


def change_stage(settings: Settings, action: str, argument: str, *, why: str) -> int:
    """Carry out one change of stage; workers see it at the next study that they plan."""
    registry, (name, wanted) = Parts(settings).registry, split(argument)
    if action != "rollback":
        wanted = found(registry.versions(name), wanted, name=name).digest
    registry.versions(name)
    audited(settings, " ".join(filter(None, (f"model {name}: {action}", wanted, why))))
    by = By(who=account(), why=why)
    if action == "promote":
        version = registry.promote(name, wanted, by, gate=settings.promotion.gate(name))
    elif action == "rollback":
        version = registry.rollback(name, by)
    else:
        version = registry.retire(name, wanted, by)
    stage = Stage.RETIRED if action == "retire" else Stage.SERVED
    output().print(_now(name, version, stage), highlight=False)
    return 0


def promote_without_evidence(settings: Settings, argument: str, *, why: str) -> int:
    """Serve a version on an administrator's word; history and audit trail keep the reason."""
    registry, (name, wanted) = Parts(settings).registry, split(argument)
    if not why.strip():
        msg = "--without-evidence needs a reason"
        raise RequestError(msg)
    wanted = found(registry.versions(name), wanted, name=name).digest
    audited(settings, f"model {name}: promote {wanted} without evidence: {why}")
    version = registry.promote(name, wanted, By(who=account(), why=why), gate=None)
    output().print(_now(name, version, Stage.SERVED), highlight=False)
    return 0


def shadow(settings: Settings, argument: str, *, stop: bool, why: str) -> int:
    """Let a version read in the shadow of the served one, or no more."""
    registry, (name, wanted) = Parts(settings).registry, split(argument)
    wanted = found(registry.versions(name), wanted, name=name).digest
    action = "stop the shadow" if stop else "shadow"
    audited(settings, " ".join(filter(None, (f"model {name}: {action}", wanted, why))))
    version = registry.shadow(name, wanted, By(who=account(), why=why), stop=stop)
    stage = Stage.CANDIDATE if stop else Stage.SHADOW
    output().print(_now(name, version, stage), highlight=False)
    return 0


def remove(settings: Settings, argument: str) -> None:
    """Delete a model, or one version of it that is not served."""
    registry, (name, wanted) = Parts(settings).registry, split(argument)
    registry.versions(name)
    audited(settings, " ".join(filter(None, (f"model {name}: remove", wanted))))
    if wanted:
        registry.remove_version(name, wanted, By(who=account()))
    else:
        registry.remove(name)


def history(settings: Settings, name: str) -> int:
    """Print every change of the versions of a model, oldest first."""
    table = empty_table("time", "who", "what", "served afterwards", "evidence", "why")
    for change in Parts(settings).registry.history(name):
        at = datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        served = change.served
        after = f"{served.version} ({served.digest[:DIGEST_SHOWN]})" if served else "none"
        evidence = change.evidence[:DIGEST_SHOWN]
        table.add_row(at, change.who, change.action, after, evidence, change.why)
    output().print(table)
    return 0


def audited(settings: Settings, about: str) -> None:
    """Record in the audit trail what is about to be done; before, so that nothing goes unseen.

    Where nothing ever ran there is no trail yet.
    """
    if settings.database_url or (settings.data_folder / "wetread.sqlite").exists():
        told(Parts(settings), Kind.MODEL_CHANGED, about=about)


def _now(name: str, version: Version, stage: Stage) -> str:
    return f"{name} {version.version} ({version.digest[:DIGEST_SHOWN]}) is {stage}"


def named(package: Package) -> str:
    """Return a version as people are told of it."""
    manifest = package.manifest
    return f"{manifest.name} {manifest.version} ({package.digest[:DIGEST_SHOWN]})"


def remark(registry: Registry, package: Package) -> str:
    """Return what is to be done before a version that was added reads studies."""
    name = package.manifest.name
    version = found(registry.versions(name), package.digest, name=name)
    if version.stage is Stage.SERVED:
        return ""
    return f" as {version.stage}; wetread models promote {name}@{version.digest[:DIGEST_SHOWN]}"


def split(argument: str) -> tuple[str, str]:
    """Return name and version of NAME@VERSION."""
    name, _, wanted = argument.partition("@")
    if not name:
        msg = f"{argument!r} names no model"
        raise RequestError(msg)
    return name, wanted
