"""All settings: one TOML file plus ``WETREAD_*`` variables, read once into a frozen object.

The only reader of the environment. ``WETREAD_NODE__PORT=104`` overrides ``port`` in ``[node]``.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from dicom_node.peers import Peer
from dicom_node.routing import Rule
from imaging.errors import SetupError
from imaging.identity import AETitle, ae_title
from imaging.sentences import Languages

WETREAD_VERSION = version("wetread")
DEFAULT_FILE = Path("wetread.toml")
_PREFIX = "WETREAD_"
_LARGEST_PORT = 65535


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _title(text: str) -> AETitle:
    try:
        return ae_title(text)
    except SetupError as error:
        raise ValueError(str(error)) from error


def _reachable(peer: Peer) -> Peer:
    if "/" in peer.host and (peer.query or peer.deliver):
        msg = f"host {peer.host} is a network; only a peer that is never called may have one"
        raise ValueError(msg)
    if not 0 < peer.port <= _LARGEST_PORT:
        msg = f"port {peer.port} is not from 1 to {_LARGEST_PORT}"
        raise ValueError(msg)
    return replace(peer, ae_title=_title(peer.ae_title))


def _usable(rule: Rule) -> Rule:
    try:
        re.compile(rule.description)
    except re.error as error:
        msg = f"description {rule.description!r} is not a regular expression: {error}"
        raise ValueError(msg) from error
    return rule


Port = Annotated[int, Field(ge=1, le=_LARGEST_PORT)]
Title = Annotated[AETitle, AfterValidator(_title)]
KnownPeer = Annotated[Peer, AfterValidator(_reachable)]
UsableRule = Annotated[Rule, AfterValidator(_usable)]


class NodeSettings(_Section):
    """``[node]``: the DICOM listener."""

    ae_title: Title = Field(AETitle("WETREAD"), description="our AE title")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all interfaces")
    port: Port = Field(11112, description="port to listen on")
    allow_unknown: bool = Field(default=False, description="accept senders that are not in peers")
    allow_loopback: bool = Field(
        default=False, description="accept unknown senders on this machine (the demo does)"
    )
    max_associations: int = Field(128, ge=1, description="associations served at the same time")


class ArrivalSettings(_Section):
    """``[arrival]``: when a study is complete."""

    quiet_s: float = Field(
        10.0, gt=0, description="without an answer of the PACS: seconds without a new image"
    )
    limit_s: float = Field(
        1800.0, gt=0, description="longest wait for images that the PACS says are missing"
    )


class AnalysisSettings(_Section):
    """``[analysis]``: how models run. What changes results is part of the settings digest."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes the GPU when there is one and falls back to the CPU"
    )
    threads: int = Field(0, ge=0, description="threads for one model run; 0 is all cores")
    studies_at_once: int = Field(2, ge=1, description="studies in work on one worker")
    notices: bool = Field(
        default=True, description='write "AI analysis not performed" into studies no model read'
    )
    language: Languages = Field(
        "en", description="of these notices: en; zh or both add Chinese, first or second, in UTF-8"
    )


class DeliverySettings(_Section):
    """``[delivery]``: results on their way to the destinations."""

    first_retry_s: float = Field(2.0, gt=0, description="wait after the first failed attempt")
    longest_retry_s: float = Field(300.0, gt=0, description="waits double up to this many seconds")
    give_up_days: float = Field(14.0, gt=0, description="then the delivery is shown as failed")


class WebSettings(_Section):
    """``[web]``: REST interface."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8000, description="port to listen on")


class StorageSettings(_Section):
    """``[storage]``: the data folder."""

    min_free_gb: float = Field(
        2.0, ge=0, description="below this much free space nothing more is accepted"
    )


class LogSettings(_Section):
    """``[log]``: structured logs on standard error; never patient data."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level")
    format: Literal["json", "text"] = Field("json", description="json lines, or text for people")


class Settings(_Section):
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
    arrival: ArrivalSettings = ArrivalSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    delivery: DeliverySettings = DeliverySettings()
    web: WebSettings = WebSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
    peers: tuple[KnownPeer, ...] = Field((), description="who may send, be asked, and get results")
    rules: tuple[UsableRule, ...] = Field((), description="which studies, models and destinations")

    @model_validator(mode="after")
    def _names_are_known(self) -> "Settings":
        names = [peer.name for peer in self.peers]
        problems = [f"peer {name!r} is there twice" for name in set(names) if names.count(name) > 1]
        problems += [
            f"rule {rule.name!r}: destination {destination!r} is not a peer"
            for rule in self.rules
            for destination in rule.destinations or ()
            if destination not in names
        ]
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
    def instances_folder(self) -> Path:
        """Where instances lie."""
        return self.data_folder / "instances"

    @property
    def digest(self) -> str:
        """Digest of what beside images and model can change a result; results carry it."""
        relevant = {"version": WETREAD_VERSION, "tenant": self.tenant}
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()

    def destinations(self) -> tuple[Peer, ...]:
        """Peers that get results when no rule says otherwise."""
        return tuple(peer for peer in self.peers if peer.deliver)


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
    folder = (chosen.resolve().parent / settings.data_folder.expanduser()).resolve()
    return settings.model_copy(update={"data_folder": folder})


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
