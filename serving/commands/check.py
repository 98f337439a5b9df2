"""`wetread check`: every problem of an installation at once."""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_node.peers import Peer
from dicom_node.scu import Timeouts, echo
from dicom_node.ways import WebWay
from imaging.errors import WetreadError
from models.runtime import open_sessions
from serving.certificates import validities
from serving.commands.tables import output
from serving.health import Health, answers, is_ours
from serving.notify import capability
from serving.notify.target import Target
from serving.parts import Parts
from serving.people.provider import Provider
from serving.people.sign_in_settings import SignInSettings
from serving.settings import Settings
from serving.web import exposed

_PEER_TIMEOUTS = Timeouts(connect_s=3.0, reply_s=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing looked at; `problem` is empty when all is well, `fatal` when it must be mended."""

    what: str
    problem: str = ""
    remark: str = ""
    fatal: bool = True


def check(settings: Settings) -> int:
    """Look at data folder, database, ports, peers and models; 1 when anything is wrong."""
    console, wrong = output(), False
    for line in _lines(settings):
        wrong = wrong or (bool(line.problem) and line.fatal)
        mark = (
            "[green]ok[/]" if not line.problem else "[red]no[/]" if line.fatal else "[yellow]--[/]"
        )
        console.print(
            f"{mark}  {line.what}: {line.problem or line.remark or 'ok'}", highlight=False
        )
    return 1 if wrong else 0


def _lines(settings: Settings) -> Iterator[Line]:
    yield from _storage(settings)
    yield _node_port(settings)
    yield _web_port(settings)
    yield _web_people(settings)
    if settings.sign_in.on:
        yield _provider(settings.sign_in)
    yield from certificates(settings, time.time())
    for peer in settings.peers:
        yield _peer(settings, peer)
    for service in settings.web_peers:
        problem = WebWay(peer=service, timeouts=_PEER_TIMEOUTS).probe()
        what = f"web peer {service.name} ({service.url})"
        yield Line(what=what, problem=problem or "", remark="answers")
    yield from map(_target, settings.notify)
    if not settings.reached():
        yield Line(what="peers", problem="none is configured; results stay here", fatal=False)
    yield from _models(settings)
    validator = shutil.which("dciodvfy")
    yield Line(
        what="dciodvfy",
        problem="" if validator else "not installed (dicom3tools); own checks only",
        fatal=False,
    )


def _storage(settings: Settings) -> Iterator[Line]:
    folder = settings.data_folder
    try:
        parts = Parts(settings)
        for name, problem in Health(settings, parts.index, parts.archive).parts().items():
            if name not in {"node", "worker"}:  # they need not run yet
                yield Line(what=name, problem="" if problem == "ok" else problem)
        writable = os.access(folder, os.W_OK)
        free = f"{folder}, {parts.archive.free_bytes() / 2**30:.1f} GB free"
        yield Line(what="data folder", problem="" if writable else "not writable", remark=free)
    except (WetreadError, OSError) as error:
        yield Line(what="data folder", problem=f"{folder}: {error}")


def _web_people(settings: Settings) -> Line:
    try:
        parts = Parts(settings)
        remark = "must sign in" if parts.people.guarded() else "this machine alone, nobody signs in"
        return Line(what="web users", problem=exposed(parts), remark=remark)
    except (WetreadError, OSError) as error:
        return Line(what="web users", problem=str(error))


def _provider(rules: SignInSettings) -> Line:
    what = f"sign-in service {rules.issuer}"
    try:
        rules.secret()
        asyncio.run(Provider(rules).usable())
    except WetreadError as error:
        return Line(what=what, problem=str(error))
    return Line(what=what, remark=f"answers; it must know the redirect URI {rules.back_url}")


def _web_port(settings: Settings) -> Line:
    host, port = settings.web.host, settings.web.port
    if is_ours(host, port, https=bool(settings.web.certificate)):
        return Line(what="web port", remark=f"{host}:{port}, Wetread answers")
    taken = f"{host}:{port} is taken by another program" if answers(host, port) else ""
    return Line(what="web port", problem=taken, remark=f"{host}:{port} is free")


def _node_port(settings: Settings) -> Line:
    """Tell our kind, a DICOM listener even if it turns us away, from another program."""
    node, what = settings.node, "node port"
    where = f"{node.host}:{node.first_port}"
    if not answers(node.host, node.first_port):
        return Line(what=what, remark=f"{where} is free")
    if node.tls.only:
        return Line(what=what, remark=f"{where}, something answers")  # TLS may want a certificate
    ourselves = Peer(name="node", ae_title=node.ae_title, host=node.host, port=node.port)
    problem = echo(ourselves, ae_title=node.ae_title, timeouts=_PEER_TIMEOUTS)
    if problem is None or "refused" in problem:
        return Line(what=what, remark=f"{where}, a DICOM listener answers")
    return Line(what=what, problem=f"{where} is taken by another program")


def certificates(settings: Settings, now: float) -> Iterator[Line]:
    """Look at every certificate that the settings name."""
    warn_days = settings.node.tls.warn_days
    for validity in validities(settings):
        days, what = validity.days_left(now), f"certificate {validity.path}"
        if validity.problem:
            yield Line(what=what, problem=validity.problem)
        elif days < warn_days:
            yield Line(what=what, problem=f"expires in {days} days", fatal=False)
        elif validity.remark:
            yield Line(what=what, problem=validity.remark, fatal=False)
        else:
            yield Line(what=what, remark=f"good for {days} days")


def _peer(settings: Settings, peer: Peer) -> Line:
    what = f"peer {peer.name} ({peer.ae_title} at {peer.host}:{peer.port})"
    if not (peer.query or peer.deliver):
        return Line(what=what, remark="only sends; not asked")
    problem = echo(peer, ae_title=settings.node.ae_title, timeouts=_PEER_TIMEOUTS)
    return Line(what=what, problem=problem or "", remark="answers C-ECHO")


def _target(target: Target) -> Line:
    """Look at the secret of a target, and at what listens there; nothing is told."""
    host, port = target.address()
    what, where = f"notify {target.name} ({target.kind})", f"{host}:{port}"
    if problem := target.problem():
        return Line(what=what, problem=problem)
    if not answers(host, port):
        return Line(what=what, problem=f"{where} accepts no connection")
    wrong = capability.problem(target, timeouts=_PEER_TIMEOUTS) if target.kind == "fhir" else ""
    return Line(what=what, problem=wrong, remark=f"{where} accepts connections")


def _models(settings: Settings) -> Iterator[Line]:
    registry, analysis = Parts(settings).registry, settings.analysis
    sessions = open_sessions(analysis.device, threads=analysis.threads)
    for package in registry.packages():
        what = f"model {package.manifest.name} {package.manifest.version}"
        try:
            sessions.load(package)
            yield Line(what=what, remark=f"loads; digest {package.digest[:12]}")
        except WetreadError as error:
            yield Line(what=what, problem=str(error))
    for broken in registry.broken():
        yield Line(what=f"model {broken.name}", problem="; ".join(broken.problems))
    if not registry.packages():
        yield Line(what="models", problem="none is installed: wetread models list", fatal=False)
