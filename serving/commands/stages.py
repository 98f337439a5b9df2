"""`wetread models promote, rollback, retire, history`: which version of a model reads studies."""

from datetime import UTC, datetime

from dicom_node.audit.kinds import Kind
from imaging.errors import RequestError
from models.package import Package
from models.registry import Registry
from models.stages import By, Stage, found
from serving.commands.audit import told
from serving.commands.tables import empty_table, output
from serving.parts import Parts, account
from serving.settings import Settings

DIGEST_SHOWN = 12


def change_stage(settings: Settings, action: str, argument: str, *, why: str) -> int:
    """Carry out one change of stage; workers see it at the next study that they plan."""
    registry, (name, wanted) = Parts(settings).registry, _split(argument)
    if action != "rollback":
        wanted = found(registry.versions(name), wanted, name=name).digest
    registry.versions(name)
    audited(settings, " ".join(filter(None, (f"model {name}: {action}", wanted, why))))
    by = By(who=account(), why=why)
    if action == "promote":
        version = registry.promote(name, wanted, by)
    elif action == "rollback":
        version = registry.rollback(name, by)
    else:
        version = registry.retire(name, wanted, by)
    text = f"{name} {version.version} ({version.digest[:DIGEST_SHOWN]}) is "
    output().print(text + (Stage.RETIRED if action == "retire" else Stage.SERVED), highlight=False)
    return 0


def remove(settings: Settings, argument: str) -> None:
    """Delete a model, or one version of it that is not served."""
    registry, (name, wanted) = Parts(settings).registry, _split(argument)
    registry.versions(name)
    audited(settings, " ".join(filter(None, (f"model {name}: remove", wanted))))
    if wanted:
        registry.remove_version(name, wanted, By(who=account()))
    else:
        registry.remove(name)


def history(settings: Settings, name: str) -> int:
    """Print every change of the versions of a model, oldest first."""
    table = empty_table("time", "who", "what", "served afterwards", "why")
    for change in Parts(settings).registry.history(name):
        at = datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        served = change.served
        after = f"{served.version} ({served.digest[:DIGEST_SHOWN]})" if served else "none"
        table.add_row(at, change.who, change.action, after, change.why)
    output().print(table)
    return 0


def audited(settings: Settings, about: str) -> None:
    """Record in the audit trail what is about to be done; before, so that nothing goes unseen.

    Where nothing ever ran there is no trail yet.
    """
    if settings.database_url or (settings.data_folder / "wetread.sqlite").exists():
        told(Parts(settings), Kind.MODEL_CHANGED, about=about)


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


def _split(argument: str) -> tuple[str, str]:
    name, _, wanted = argument.partition("@")
    if not name:
        msg = f"{argument!r} names no model"
        raise RequestError(msg)
    return name, wanted
