"""All settings: one TOML file plus ``WETREAD_*`` variables, read once into a frozen object.

The only reader of the environment. ``WETREAD_NODE__PORT=104`` overrides ``port`` in ``[node]``.
"""

import hashlib
import json
import os
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from dicom_node.peers import Peer
from dicom_node.ways import Destination
from dicom_node.web_peers import WebPeer
from imaging.errors import SetupError
from serving.monitoring.settings import MonitoringSettings
from serving.notify.target import Target, usable
from serving.people.origin import is_local_name
from serving.people.pace import RequestSettings
from serving.people.sign_in_settings import SignInSettings
from serving.promotion import PromotionSettings
from serving.sections import (
    AnalysisSettings,
    ArrivalSettings,
    AuditSettings,
    DeliverySettings,
    DicomwebSettings,
    GeometrySettings,
    KnownPeer,
    KnownWebPeer,
    LimitSettings,
    LogSettings,
    NodeSettings,
    RetentionSettings,
    Section,
    StorageSettings,
    TlsSettings,
    UsableRule,
    WebSettings,
    WorklistSettings,
)

WETREAD_VERSION = version("wetread")
DEFAULT_FILE = Path("wetread.toml")
_PAIR = ("certificate", "key")
_TARGET_FILES = ("ca_file", "certificate_file", "certificate_key_file", "secret_file", "key_file")
_PREFIX = "WETREAD_"
_Secretive = TypeVar("_Secretive", WebPeer, Target)


class Settings(Section):
    """Everything an operator can set."""

    data_folder: Path = Field(
        Path("wetread-data"), description="instances, index, models; relative to the settings file"
    )
    tenant: str = Field("default", pattern=r"^[a-z0-9_-]{1,32}$", description="institution")
    database_url: str = Field("", description="SQLAlchemy URL; empty is SQLite in the data folder")
    engine_url: str = Field(
        "", description="database of the work engine; empty: SQLite, or database_url if PostgreSQL"
    )
    node: NodeSettings = NodeSettings()
    limits: LimitSettings = LimitSettings()
    arrival: ArrivalSettings = ArrivalSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    geometry: GeometrySettings = GeometrySettings()
    delivery: DeliverySettings = DeliverySettings()
    web: WebSettings = WebSettings()
    requests: RequestSettings = RequestSettings()
    sign_in: SignInSettings = SignInSettings()
    dicomweb: DicomwebSettings = DicomwebSettings()
    worklist: WorklistSettings = WorklistSettings()
    storage: StorageSettings = StorageSettings()
    retention: RetentionSettings = RetentionSettings()
    audit: AuditSettings = AuditSettings()
    promotion: PromotionSettings = PromotionSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log: LogSettings = LogSettings()
    peers: tuple[KnownPeer, ...] = Field((), description="who may send, be asked, and get results")
    web_peers: tuple[KnownWebPeer, ...] = Field(
        (), description="DICOMweb services: results go there"
    )
    notify: tuple[Annotated[Target, AfterValidator(usable)], ...] = Field(
        (), description="other systems that are told what becomes of studies"
    )
    rules: tuple[UsableRule, ...] = Field((), description="which studies, models and destinations")

    @model_validator(mode="after")
    def _names_are_known(self) -> "Settings":
        names = [*(peer.name for peer in self.peers), *(peer.name for peer in self.web_peers)]
        called = [*names, *(target.name for target in self.notify)]
        problems = [
            f"peer {name!r} is there twice" for name in set(called) if called.count(name) > 1
        ]
        if bool(self.web.certificate) != bool(self.web.key):
            problems.append("[web] certificate and key go together")
        problems += [
            f"rule {rule.name!r}: destination {destination!r} is not a peer"
            for rule in self.rules
            for destination in rule.destinations or ()
            if destination not in names
        ]
        problems += [
            f"peer {peer.name!r}: tls needs a ca, of its own or in [node.tls]"
            for peer in self.peers
            if peer.tls and peer.tls.call and not (peer.tls.ca or self.node.tls.ca)
        ]
        if self.sign_in.on and not (self.sign_in.public_url or is_local_name(self.web.host)):
            problems.append("[sign_in] needs public_url: how browsers reach Wetread")
        if problems:
            raise ValueError("; ".join(sorted(problems)))
        return self

    @property
    def index_url(self) -> str:
        """URL of the index database."""
        return self.database_url or f"sqlite:///{self.data_folder / 'wetread.sqlite'}"

    @property
    def work_url(self) -> str:
        """URL of the work engine's database."""
        shared = "" if self.index_url.startswith("sqlite") else self.index_url
        return self.engine_url or shared or f"sqlite:///{self.data_folder / 'engine.sqlite'}"

    @property
    def models_folder(self) -> Path:
        """Where installed model packages lie."""
        return self.data_folder / "models"

    @property
    def slots_folder(self) -> Path:
        """Where worker slots are held."""
        return self.data_folder / "workers"

    @property
    def turns_folder(self) -> Path:
        """Where the analysers of one machine take turns on a device."""
        return self.data_folder / "turns" / platform.node()

    @property
    def instances_folder(self) -> Path:
        """Where instances lie."""
        return self.data_folder / "instances"

    @property
    def digest(self) -> str:
        """Digest of what beside images and model can change a result; results carry it."""
        relevant = {
            "version": WETREAD_VERSION,
            "tenant": self.tenant,
            "geometry": self.geometry.model_dump(),
        }
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()

    def reached(self) -> dict[str, Destination]:
        """Whatever results may be brought to, by name."""
        known: tuple[Destination, ...] = (*self.peers, *self.web_peers)
        return {peer.name: peer for peer in known}

    def destinations(self) -> tuple[Destination, ...]:
        """Peers that get results when no rule says otherwise."""
        return tuple(peer for peer in self.reached().values() if peer.deliver)


def load(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a TOML file (default ``wetread.toml`` if it exists) and variables.

    Raises
    ------
    SetupError
        Every problem in one message.
    """
    named = path or environment.get(f"{_PREFIX}SETTINGS")
    chosen = Path(named or DEFAULT_FILE)
    if named and not chosen.is_file():
        msg = f"there is no settings file {chosen}"
        raise SetupError(msg)
    values = _read(chosen) if chosen.is_file() else {}
    for name, text in environment.items():
        if name.startswith(_PREFIX) and name != f"{_PREFIX}SETTINGS" and _is_setting(name):
            _override(values, name.removeprefix(_PREFIX).lower().split("__"), text)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()
        ]
        msg = "\n".join([f"settings {chosen}:", *lines])
        raise SetupError(msg) from error
    web_peers = tuple(_with_secret(peer, environment) for peer in settings.web_peers)
    notify = tuple(_with_secret(target, environment) for target in settings.notify)
    settings = settings.model_copy(update={"web_peers": web_peers, "notify": notify})
    return _placed(settings, chosen.resolve().parent)


def _placed(settings: Settings, folder: Path) -> Settings:
    """Let relative names of files start at the folder of the settings file."""
    node, tls = settings.node, settings.node.tls
    files = {name: _file(getattr(tls, name), folder) for name in (*_PAIR, "ca")}
    tls = tls.model_copy(update=files)
    return settings.model_copy(
        update={
            "audit": settings.audit.model_copy(
                update={"syslog_ca": _file(settings.audit.syslog_ca, folder)}
            ),
            "web": settings.web.model_copy(
                update={name: _file(getattr(settings.web, name), folder) for name in _PAIR}
            ),
            "sign_in": _sign_in(settings, folder),
            "data_folder": (folder / settings.data_folder.expanduser()).resolve(),
            "node": node.model_copy(update={"tls": tls}),
            "notify": tuple(_beside(target, folder) for target in settings.notify),
            "peers": tuple(_complete(peer, tls, folder) for peer in settings.peers),
        }
    )


def _sign_in(settings: Settings, folder: Path) -> SignInSettings:
    sign_in, web = settings.sign_in, settings.web
    placed = {
        name: _file(getattr(sign_in, name), folder) for name in ("client_secret_file", "ca_file")
    }
    scheme = "https" if web.certificate else "http"
    url = sign_in.public_url or (f"{scheme}://{web.host}:{web.port}" if sign_in.on else "")
    return sign_in.model_copy(update={**placed, "public_url": url})


def _complete(peer: Peer, node: TlsSettings, folder: Path) -> Peer:
    """Give a peer the files of the node where it names none of its own."""
    if peer.tls is None:
        return peer
    used = peer.tls if peer.tls.certificate else node
    return replace(
        peer,
        tls=replace(
            peer.tls,
            certificate=_file(used.certificate, folder),
            key=_file(used.key, folder),
            ca=_file(peer.tls.ca or node.ca, folder),
        ),
    )


def _beside(target: Target, folder: Path) -> Target:
    files = {name: getattr(target, name) for name in _TARGET_FILES}
    return replace(
        target, **{name: file and folder / file.expanduser() for name, file in files.items()}
    )


def _file(name: str, folder: Path) -> str:
    return str(folder / Path(name).expanduser()) if name else ""


def _with_secret(peer: _Secretive, environment: Mapping[str, str]) -> _Secretive:
    if not peer.secret_variable:
        return peer
    if peer.secret_variable not in environment:
        msg = f"{peer.name!r}: there is no variable {peer.secret_variable}"
        raise SetupError(msg)
    return replace(peer, secret=environment[peer.secret_variable])


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        msg = f"settings {path}: {error}"
        raise SetupError(msg) from error


def _is_setting(name: str) -> bool:
    return name.removeprefix(_PREFIX).lower().split("__")[0] in Settings.model_fields


def _override(values: dict[str, Any], keys: list[str], text: str) -> None:
    for key in keys[:-1]:
        inner: object = values.setdefault(key, {})
        if not isinstance(inner, dict):
            msg = f"variable {_PREFIX}{'__'.join(keys).upper()}: {key} is not a section"
            raise SetupError(msg)
        values = inner
    values[keys[-1]] = text
