"""The node process: receives instances, finds studies complete, schedules their analysis."""

import sys
import threading
import time

from dicom_node.arrival import Arrival, ArrivalSettings
from dicom_node.asking import SeriesCounts
from dicom_node.audit.peers import PeerAudit
from dicom_node.commitment_scp import CommitmentProvider
from dicom_node.limits import Limits
from dicom_node.peers import AssociationPolicy
from dicom_node.query_scp import QueryProvider
from dicom_node.retrieve_scp import RetrieveProvider
from dicom_node.retrieving import Retriever
from dicom_node.scp import Listening, Node
from dicom_node.searching import Searches
from dicom_node.tls import Reloading
from imaging.errors import SetupError
from serving.memory import give_back_large_blocks
from serving.parts import Parts
from serving.settings import Settings

_ABANDONED_S = 3600.0  # workers write results into the archive too, at this very moment
_SWITCH_S = 0.0005  # of ten times that a sender would wait for each busy thread, message by message


def run(settings: Settings, stop: threading.Event) -> None:
    """Listen until `stop` is set.

    Raises
    ------
    SetupError
        The port is taken.
    """
    sys.setswitchinterval(_SWITCH_S)
    give_back_large_blocks()
    parts = Parts(settings, process="node")
    policy = AssociationPolicy(
        ae_title=settings.node.ae_title,
        peers=settings.peers,
        allow_unknown=settings.node.allow_unknown,
        allow_unknown_loopback=settings.node.allow_loopback,
    )
    arrival = Arrival(
        parts.index,
        SeriesCounts(policy, time.time),
        parts.operations.schedule,
        resend=Retriever(policy),
        settings=ArrivalSettings(
            quiet_s=settings.arrival.quiet_s,
            away_s=settings.arrival.away_s,
            limit_s=settings.arrival.limit_s,
        ),
        clock=time.time,
    )
    audit = PeerAudit(parts.auditor, parts.auditor.process)
    listening = _listening(settings)
    commitment = CommitmentProvider(parts.index, parts.archive, parts.transactions, policy=policy)
    searches = Searches(parts.index.engine, parts.index.tenant)
    node = Node(
        parts.ingest,
        policy,
        arrival.wake,
        listening=listening,
        services=[
            *commitment.handlers(),
            *QueryProvider(searches, ae_title=settings.node.ae_title, audit=audit).handlers(),
            *RetrieveProvider(parts.index, parts.archive, policy=policy, audit=audit).handlers(),
        ],
        audit=audit,
    )
    parts.archive.sweep(before=time.time() - _ABANDONED_S)
    try:
        node.start()
    except OSError as error:
        ports = " and ".join(str(p) for p in (listening.port, listening.tls_port) if p)
        msg = f"cannot listen on {listening.host}:{ports}: {error.strerror}"
        raise SetupError(msg) from error
    parts.auditor.start()
    arrival.start()
    commitment.start()
    stop.wait()
    commitment.stop()
    arrival.stop()
    node.stop()
    parts.auditor.stop()


def _listening(settings: Settings) -> Listening:
    node, tls = settings.node, settings.node.tls
    return Listening(
        host=node.host,
        port=None if tls.only else node.port,
        tls_port=tls.port or None,
        tls=Reloading(tls.files, require_client=tls.require_client_certificate)
        if tls.port
        else None,
        limits=_limits(settings),
    )


def _limits(settings: Settings) -> Limits:
    node, limits = settings.node, settings.limits
    return Limits(
        associations=node.max_associations,
        associations_of_peer=node.max_associations_per_peer,
        half_open=limits.half_open,
        associate_s=limits.associate_s,
        idle_s=limits.idle_s,
        grace_s=limits.grace_s,
        slowest_rate=limits.slowest_kb_s << 10,
        pdu_bytes=limits.pdu_kb << 10,
        message_bytes=limits.message_mb << 20,
        contexts=limits.contexts,
    )
