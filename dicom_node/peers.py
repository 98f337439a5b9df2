"""Who we talk to: configured peers, and who may associate with us (PS3.8 9.3.4)."""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dicom_node.tls import PeerCertificate, TlsFiles, TlsVersion
from imaging.identity import AETitle

REJECTED_PERMANENT = 1
SERVICE_USER = 1
CALLING_AE_NOT_RECOGNIZED = 3
CALLED_AE_NOT_RECOGNIZED = 7

Output = Literal["seg", "sr", "key_image", "notice", "text"]
OUTPUTS: tuple[Output, ...] = ("seg", "sr", "key_image", "notice")
_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTls:
    """How a peer uses TLS. Empty files are those of the node.

    `call`: we call it over TLS. `require`: it may associate with us only over TLS. `subject` is a
    name in its certificate, `fingerprints` are SHA-256 digests of its certificate, of which one
    must fit: then nobody else's certificate passes for this peer, in either direction.
    """

    call: bool = True
    require: bool = True
    certificate: str = ""
    key: str = ""
    ca: str = ""
    minimum_version: TlsVersion = "1.2"
    verify_host: bool = True
    subject: str = ""
    fingerprints: tuple[str, ...] = ()

    @property
    def files(self) -> TlsFiles:
        """What is needed for calling it."""
        return TlsFiles(
            certificate=self.certificate,
            key=self.key,
            ca=self.ca,
            minimum_version=self.minimum_version,
        )

    @property
    def is_bound(self) -> bool:
        """Whether not every certificate of the authorities will do."""
        return bool(self.subject or self.fingerprints)

    def accepts(self, certificate: PeerCertificate) -> bool:
        """Whether this certificate may be the peer's."""
        fits_name = not self.subject or self.subject in certificate.names
        known = {digits(text) for text in self.fingerprints}
        return fits_name and (not known or certificate.fingerprint in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """How a requestor reached us: from where, and over TLS with which certificate, if any."""

    address: str
    tls: bool = False
    certificate: PeerCertificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A configured application entity.

    `host` is a name, an address or, for a peer we never call, a network such as ``10.2.0.0/16``.
    `may_send`: it may store instances here. `may_commit`: it may ask us for storage commitment.
    `may_query`: it may ask what is here (C-FIND). `may_retrieve`: it may fetch it (C-MOVE, C-GET).
    `query`: it answers Study Root C-FIND. `commitment`: it is asked to commit to what it is sent.
    `deliver`: it gets the results; of these only the kinds in `outputs`.
    `instead`: what it gets when it refuses SEG or SR for what they are.
    `withdraw`: it gets rejection notes for results that later ones replace.
    """

    name: str
    ae_title: AETitle
    host: str
    port: int
    may_send: bool = True
    may_commit: bool = True
    may_query: bool = False
    may_retrieve: bool = False
    query: bool = False
    commitment: bool = False
    deliver: bool = False
    outputs: tuple[Output, ...] = OUTPUTS
    instead: tuple[Literal["key_image", "text"], ...] = ("key_image", "text")
    withdraw: bool = False
    tls: PeerTls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A-ASSOCIATE-RJ: result, source and reason of PS3.8 table 9-21, and a sentence for the log."""

    result: int
    source: int
    reason: int
    text: str


TOO_MANY = Rejection(result=2, source=3, reason=2, text="this peer has too many associations")
NO_ROOM = Rejection(result=2, source=3, reason=1, text="no free space: temporary congestion")


def resolve(host: str) -> frozenset[str]:
    """Return the addresses of a host name; none when it has none."""
    try:
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(host, None))
    except OSError:
        return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationPolicy:
    """Who may associate with us under which title; `resolve` gives the addresses of a host name."""

    ae_title: AETitle
    peers: tuple[Peer, ...] = ()
    allow_unknown: bool = False
    allow_unknown_loopback: bool = True
    check_called: bool = True
    resolve: Callable[[str], frozenset[str]] = resolve

    def refusal(self, calling_ae: str, called_ae: str, channel: Channel) -> Rejection | None:
        """Return why this requestor is refused, or ``None``.

        A known title from a foreign address, or without the peer's certificate, gets the same
        answer as an unknown title.
        """
        if self.check_called and called_ae.strip() != self.ae_title:
            text = "the called AE title is not ours"
            return _rejection(CALLED_AE_NOT_RECOGNIZED, text)
        peer = self.peer(calling_ae, channel.address)
        if peer is None and not self._stranger_allowed(channel.address):
            text = "the calling AE title is not that of a configured peer at this address"
            return _rejection(CALLING_AE_NOT_RECOGNIZED, text)
        problem = peer and peer.tls and _tls_problem(peer.tls, channel)
        return _rejection(CALLING_AE_NOT_RECOGNIZED, problem) if problem else None

    def may_store(self, calling_ae: str, address: str) -> bool:
        """Whether this requestor, once associated, may store instances."""
        peer = self.peer(calling_ae, address)
        return self._stranger_allowed(address) if peer is None else peer.may_send

    def may_commit(self, calling_ae: str, address: str) -> bool:
        """Whether this requestor may ask for storage commitment; one we do not know may not."""
        peer = self.peer(calling_ae, address)
        return peer is not None and peer.may_commit

    def may_query(self, calling_ae: str, address: str) -> bool:
        """Whether this requestor may ask what is here."""
        peer = self.peer(calling_ae, address)
        return peer is not None and peer.may_query

    def may_retrieve(self, calling_ae: str, address: str) -> bool:
        """Whether this requestor may fetch what is here, or have it sent to another peer."""
        peer = self.peer(calling_ae, address)
        return peer is not None and peer.may_retrieve

    def destination(self, ae_title: str) -> Peer | None:
        """Return the peer that instances may be sent to under this title."""
        title = ae_title.strip()
        found = (peer for peer in self.peers if peer.ae_title == title and "/" not in peer.host)
        return next(found, None)

    def peer(self, calling_ae: str, address: str) -> Peer | None:
        """Return the configured peer with this title at this address."""
        title, parsed = calling_ae.strip(), _parsed(address)
        named = (peer for peer in self.peers if peer.ae_title == title)
        return next((peer for peer in named if self._is_at(peer.host, parsed)), None)

    def answering(self, sender: str, address: str) -> tuple[Peer, ...]:
        """Return the peers that answer queries, the one who sent from `address` first."""
        origin = self.peer(sender, address)
        return tuple(sorted((p for p in self.peers if p.query), key=lambda peer: peer != origin))

    def _is_at(self, host: str, address: _IPAddress) -> bool:
        try:
            return address in ipaddress.ip_network(host, strict=False)
        except ValueError:
            return any(_parsed(found) == address for found in self.resolve(host))

    def _stranger_allowed(self, address: str) -> bool:
        return self.allow_unknown or (self.allow_unknown_loopback and _parsed(address).is_loopback)


def _tls_problem(wanted: PeerTls, channel: Channel) -> str | None:
    if not channel.tls:
        return "this peer must use TLS" if wanted.require or wanted.is_bound else None
    if not wanted.is_bound:
        return None
    if channel.certificate is None:
        return "this peer has shown no certificate"
    return None if wanted.accepts(channel.certificate) else "the certificate is not this peer's"


def digits(fingerprint: str) -> str:
    """Return a fingerprint as plain lower-case digits."""
    return fingerprint.replace(":", "").replace(" ", "").lower()


def _rejection(reason: int, text: str) -> Rejection:
    return Rejection(result=REJECTED_PERMANENT, source=SERVICE_USER, reason=reason, text=text)


def _parsed(address: str) -> _IPAddress:
    """Return the address; IPv4 written as IPv6 (``::ffff:a.b.c.d``) becomes IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
