"""The sections of the settings file, each a frozen record with the meaning of its fields."""

import re
from dataclasses import replace
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dicom_node.peers import Peer, digits
from dicom_node.routing import Rule
from dicom_node.tls import TlsFiles, TlsVersion
from dicom_node.web_peers import WebPeer
from imaging.errors import SetupError
from imaging.identity import AETitle, ae_title
from imaging.scan import Bounds
from imaging.sentences import Languages
from imaging.tolerances import DEFAULT, Tolerances
from serving.memory import machine_bytes
from serving.order import PRIORITIES

_LARGEST_PORT = 65535
_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


class Section(BaseModel):
    """A part of the settings: frozen, and without unknown keys."""

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
    if peer.tls:
        _digests(peer.tls.fingerprints)
    return replace(peer, ae_title=_title(peer.ae_title))


def _web_reachable(peer: WebPeer) -> WebPeer:
    parts = urlsplit(peer.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"url {peer.url!r} is not that of a web service"
        raise ValueError(msg)
    if parts.username or parts.password or parts.query or parts.fragment:
        msg = "url holds more than an address and a path; a secret belongs into secret_file"
        raise ValueError(msg)
    if peer.has_secret() and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        msg = f"url {peer.url} would carry a secret in the clear; use https"
        raise ValueError(msg)
    return peer


def _digests(fingerprints: tuple[str, ...]) -> None:
    for text in fingerprints:
        if not re.fullmatch(r"[0-9a-f]{64}", digits(text)):
            msg = f"fingerprint {text!r} is not a SHA-256 digest in hexadecimal digits"
            raise ValueError(msg)


def _usable(rule: Rule) -> Rule:
    try:
        re.compile(rule.description)
    except re.error as error:
        msg = f"description {rule.description!r} is not a regular expression: {error}"
        raise ValueError(msg) from error
    if rule.priority is not None and rule.priority not in PRIORITIES:
        msg = f"priority {rule.priority} is not from {PRIORITIES[0]} to {PRIORITIES[-1]}"
        raise ValueError(msg)
    return rule


Port = Annotated[int, Field(ge=1, le=_LARGEST_PORT)]
Title = Annotated[AETitle, AfterValidator(_title)]
KnownPeer = Annotated[Peer, AfterValidator(_reachable)]
KnownWebPeer = Annotated[WebPeer, AfterValidator(_web_reachable)]
UsableRule = Annotated[Rule, AfterValidator(_usable)]


class TlsSettings(Section):
    """``[node.tls]``: DICOM over TLS. Relative names start at the settings file."""

    port: int = Field(
        0, ge=0, le=_LARGEST_PORT, description="port for TLS; 2762 is registered; 0 is none"
    )
    only: bool = Field(default=False, description="do not listen without TLS")
    certificate: str = Field("", description="PEM file: our certificate, its chain behind it")
    key: str = Field("", description="PEM file: its key, without password")
    ca: str = Field("", description="PEM file: authorities that vouch for peers")
    require_client_certificate: bool = Field(
        default=True, description="let nobody in without a certificate of one of these authorities"
    )
    minimum_version: TlsVersion = Field("1.2", description="1.3 refuses peers that only know 1.2")
    warn_days: int = Field(30, ge=0, description="check warns so long before a certificate expires")

    @model_validator(mode="after")
    def _is_whole(self) -> "TlsSettings":
        if self.only and not self.port:
            msg = "only needs a port"
            raise ValueError(msg)
        if self.port and not (self.certificate and self.key):
            msg = "a port needs certificate and key"
            raise ValueError(msg)
        if self.port and self.require_client_certificate and not self.ca:
            msg = "require_client_certificate needs a ca"
            raise ValueError(msg)
        return self

    @property
    def files(self) -> TlsFiles:
        """What the listener needs."""
        return TlsFiles(
            certificate=self.certificate,
            key=self.key,
            ca=self.ca,
            minimum_version=self.minimum_version,
        )


class NodeSettings(Section):
    """``[node]``: the DICOM listener."""

    ae_title: Title = Field(AETitle("WETREAD"), description="our AE title")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all interfaces")
    port: Port = Field(11112, description="port to listen on")
    allow_unknown: bool = Field(default=False, description="accept senders that are not in peers")
    allow_loopback: bool = Field(
        default=False, description="accept unknown senders on this machine (the demo does)"
    )
    max_associations: int = Field(128, ge=1, description="associations served at the same time")
    max_associations_per_peer: int = Field(
        32, ge=1, description="of these, with one AE title at one address"
    )
    tls: TlsSettings = TlsSettings()

    @property
    def first_port(self) -> int:
        """The port without TLS, or the one with TLS where there is no other."""
        return self.tls.port if self.tls.only else self.port


class LimitSettings(Section):
    """``[limits]``: what the listener takes at most; the rest is refused with a reason."""

    pdu_kb: int = Field(1024, ge=16, description="longest PDU, as peers are told")
    message_mb: int = Field(2048, ge=1, description="longest message, data set included")
    contexts: int = Field(128, ge=1, description="presentation contexts of an association")
    half_open: int = Field(
        64, ge=1, description="connections that have not asked for an association yet"
    )
    associate_s: float = Field(10.0, gt=0, description="they must ask within this time")
    idle_s: float = Field(300.0, gt=0, description="a silent association ends after it")
    grace_s: float = Field(30.0, gt=0, description="a PDU or message may take so long at any rate")
    slowest_kb_s: int = Field(4, ge=1, description="then it must come this fast")
    element_mb: int = Field(1024, ge=1, description="longest element, pixel data excepted")
    depth: int = Field(32, ge=1, le=100, description="sequences in sequences")
    frames: int = Field(1_000_000, ge=1, description="frames of an instance, as its header says")
    decoded_gb: int = Field(64, ge=1, description="pixels of an instance when decoded")

    @property
    def bounds(self) -> Bounds:
        """Those of one instance."""
        return Bounds(
            depth=self.depth,
            element_bytes=self.element_mb << 20,
            frames=self.frames,
            decoded_bytes=self.decoded_gb << 30,
        )


class ArrivalSettings(Section):
    """``[arrival]``: when a study is complete."""

    quiet_s: float = Field(
        10.0, gt=0, description="where no PACS can say: seconds without a new image"
    )
    away_s: float = Field(
        120.0, gt=0, description="the same while a PACS that is asked gives no answer"
    )
    limit_s: float = Field(
        1800.0, gt=0, description="longest wait for images that the PACS says are missing"
    )


class AnalysisSettings(Section):
    """``[analysis]``: how models run. What changes results is part of the settings digest."""

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes the GPU when there is one and falls back to the CPU"
    )
    threads: int = Field(0, ge=0, description="threads for one model run; 0 is all cores")
    studies_at_once: int = Field(
        2, ge=1, description="studies in work on one worker, each in a process of its own"
    )
    time_limit_s: float = Field(
        600.0, gt=0, description="longest time for one step whose model names no limit of its own"
    )
    memory_gb: float = Field(
        0.0, ge=0, description="memory for one study in work; 0 shares 3/4 of what there is"
    )
    notices: bool = Field(
        default=True, description='write "AI analysis not performed" into studies no model read'
    )
    language: Languages = Field(
        "en", description="of these notices: en; zh or both add Chinese, first or second, in UTF-8"
    )

    @property
    def memory_bytes(self) -> int:
        """Memory for one study in work."""
        return int(self.memory_gb * 2**30) or int(0.75 * machine_bytes() / self.studies_at_once)


class GeometrySettings(Section):
    """``[geometry]``: how exact a series must be to be a volume; part of the settings digest.

    `imaging.tolerances` gives the reason of each.
    """

    direction: float = Field(
        DEFAULT.direction, gt=0, le=0.1, description="largest difference of a direction cosine"
    )
    pixel_spacing_mm: float = Field(
        DEFAULT.pixel_spacing_mm, gt=0, description="largest difference of pixel spacing"
    )
    same_place_mm: float = Field(
        DEFAULT.same_place_mm, gt=0, description="slices closer than this repeat a position"
    )
    uneven_mm: float = Field(
        DEFAULT.uneven_mm, gt=0, description="how far a slice may lie from its even place"
    )
    uneven_fraction_of_small: float = Field(
        DEFAULT.uneven_fraction_of_small, gt=0, le=0.4, description="and at most this part of a gap"
    )
    uneven_fraction: float = Field(
        DEFAULT.uneven_fraction, ge=0, le=0.4, description="or this part of a gap, if that is more"
    )
    square_deg: float = Field(
        DEFAULT.square_deg, gt=0, le=5, description="a stack that leans less is square"
    )
    most_tilt_deg: float = Field(
        DEFAULT.most_tilt_deg, gt=0, le=60, description="a stack that leans more is refused"
    )
    beside_fraction: float = Field(
        DEFAULT.beside_fraction, ge=0, le=1, description="how far beside, as part of a pixel"
    )
    least_slices: int = Field(DEFAULT.least_slices, ge=3, description="fewest slices of a volume")
    least_spacing_mm: float = Field(
        DEFAULT.least_spacing_mm, gt=0, description="smallest pixel spacing that is believed"
    )
    most_spacing_mm: float = Field(
        DEFAULT.most_spacing_mm, gt=0, description="largest pixel spacing that is believed"
    )
    most_pixels: int = Field(
        DEFAULT.most_pixels, ge=1, le=65535, description="longest side of a matrix that is read"
    )
    spacing_claim: float = Field(
        DEFAULT.spacing_claim,
        gt=0,
        description="a header that differs more from positions is noted",
    )

    @property
    def tolerances(self) -> Tolerances:
        """The same for the geometry gate."""
        return Tolerances(**self.model_dump())


class DeliverySettings(Section):
    """``[delivery]``: results on their way to the destinations."""

    first_retry_s: float = Field(2.0, gt=0, description="wait after the first failed attempt")
    longest_retry_s: float = Field(300.0, gt=0, description="waits double up to this many seconds")
    give_up_days: float = Field(14.0, gt=0, description="then the delivery is shown as failed")
    look_s: float = Field(
        5.0, gt=0, description="how often a destination that something waits for is asked"
    )
    commitment_s: float = Field(
        60.0, gt=0, description="longest wait for a storage commitment; then a query is the proof"
    )
    identity: Literal["follow", "hold", "ignore"] = Field(
        "follow",
        description="when the PACS has another patient or accession number for the study: correct "
        "the results, hold them, or do not ask",
    )
    at_once: int = Field(2, ge=1, description="deliveries to one destination at the same time")
    connect_s: float = Field(5.0, gt=0, description="longest wait for a destination to connect")
    reply_s: float = Field(60.0, gt=0, description="longest wait for an answer to one message")


class WebSettings(Section):
    """``[web]``: REST interface."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8000, description="port to listen on")
    certificate: str = Field("", description="PEM file, its chain behind it: then it is HTTPS")
    key: str = Field("", description="PEM file: its key, without password")
    session_idle_min: float = Field(60.0, gt=0, description="an unused session ends after it")
    session_hours: float = Field(12.0, gt=0, description="every session ends after it")
    secure_cookies: bool = Field(
        default=False, description="session cookies over HTTPS only, for a proxy elsewhere"
    )


class DicomwebSettings(Section):
    """``[dicomweb]``: storing over DICOMweb."""

    strict: bool = Field(
        default=False, description="STOW-RS takes only files that are written as the standard says"
    )
    max_instance_gb: float = Field(2.0, gt=0, description="largest instance of a STOW-RS request")
    max_request_gb: float = Field(50.0, gt=0, description="largest STOW-RS request")


TaskCode = Annotated[str, Field(pattern=r"^[^^]+\^[^^]+$")]


class WorklistSettings(Section):
    """``[worklist]``: work items of other systems that Wetread performs."""

    perform: bool = Field(default=True, description="claim work items that ask for what we do")
    codes: tuple[TaskCode, ...] = Field(
        ("110004^DCM",),
        description="Scheduled Workitem Codes of these, as value^scheme, "
        "beside names of models with scheme 99WETREAD",
    )


class StorageSettings(Section):
    """``[storage]``: the data folder."""

    low_free_gb: float = Field(
        4.0, ge=0, description="below this much free space new associations are refused"
    )
    min_free_gb: float = Field(
        2.0, ge=0, description="below this much free space nothing more is accepted or analysed"
    )


class RetentionSettings(Section):
    """``[retention]``: how long studies are kept here; without a limit for ever.

    What is unanalysed, undelivered or in work stays whatever the limits say.
    """

    max_age_days: float = Field(
        0.0, ge=0, description="a study goes so many days after its last image; 0 for never"
    )
    max_gb: float = Field(
        0.0, ge=0, description="above so much the studies of longest ago go; 0 for no limit"
    )
    keep_unassessed: bool = Field(
        default=True, description="keep a study with findings that no reader has assessed"
    )
    every_min: float = Field(60.0, gt=0, description="how often a worker looks, in minutes")

    @property
    def limited(self) -> bool:
        """Whether anything is ever removed."""
        return bool(self.max_age_days or self.max_gb)


class AuditSettings(Section):
    """``[audit]``: who saw and did what; always on."""

    source: str = Field("", description="what messages name as their source; empty: title@host")
    visit_min: float = Field(
        10.0, gt=0, description="looking at a study again so soon leaves no further record"
    )
    keep_days: float = Field(0.0, ge=0, description="older records are removed; 0 for never")
    head_min: float = Field(60.0, gt=0, description="how often the head of the chain is logged")
    syslog: str = Field(
        "",
        pattern=r"^((udp|tls)://([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5})?$",
        description="where records are sent too: udp://HOST:PORT (RFC 5426) or tls:// (RFC 5425)",
    )
    syslog_ca: str = Field(
        "", description="PEM file: authorities of a tls collector, instead of the system's"
    )


class LogSettings(Section):
    """``[log]``: structured logs on standard error; never patient data."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level")
    format: Literal["json", "text"] = Field("json", description="json lines, or text for people")
