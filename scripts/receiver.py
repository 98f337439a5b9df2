"""A plain DICOM receiver: what the demo uses where no PACS can be installed.

It keeps what it gets, forwards studies, and answers Study Root C-FIND (PS3.4 C.6.2) by unique keys
with counts, so that deliveries can be proven. It is not a PACS: nothing else works.
"""

import socket
import threading
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRootFind,
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from imaging.errors import SetupError
from imaging.header import InstanceHeader, header_of, read_header
from imaging.identity import AETitle
from scripts.loopback import HOST
from scripts.pacs import PacsPlan

_SUCCESS, _PENDING, _INVALID_LEVEL = 0x0000, 0xFF00, 0xA900
_UNIQUE_KEYS = {
    "STUDY": ("StudyInstanceUID",),
    "SERIES": ("StudyInstanceUID", "SeriesInstanceUID"),
    "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
}
_COUNTS = {"STUDY": "NumberOfStudyRelatedInstances", "SERIES": "NumberOfSeriesRelatedInstances"}


class Receiver:
    """A running receiver; `stop` ends it."""

    ae_title = AETitle("RECEIVER")
    name = "the plain receiver (no PACS)"

    def __init__(self, plan: PacsPlan) -> None:
        self.dicom_port = plan.dicom_port
        self._plan = plan
        self._lock = threading.Lock()
        self._headers: dict[str, InstanceHeader] = {}
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._ae = ae = AE(ae_title=self.ae_title)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
        ae.add_supported_context(Verification)
        ae.add_supported_context(StudyRootFind)
        ae.start_server(
            (HOST, plan.dicom_port),
            block=False,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, _send_at_once),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_C_FIND, self._on_find),
            ],
        )

    def store(self, paths: Iterable[Path]) -> None:
        """Take a study in and forward it.

        Raises
        ------
        SetupError
            An image could not be forwarded.
        """
        headers = [read_header(path) for path in paths]
        for header in headers:
            self._keep(header)
        self._forward(headers)

    def instances(self, study_uid: str) -> frozenset[str]:
        """Return the SOP Instance UIDs it has of a study."""
        with self._lock:
            headers = list(self._headers.values())
        return frozenset(h.instance_uid for h in headers if h.study.study_uid == study_uid)

    def addresses(self, study_uid: str) -> tuple[str, ...]:
        """Return the folder of received files; there is no viewer here."""
        return (str(self._plan.folder) if self.instances(study_uid) else "",)

    def stop(self) -> None:
        """End it."""
        self._ae.shutdown()

    def _keep(self, header: InstanceHeader) -> None:
        with self._lock:
            self._headers[header.instance_uid] = header

    def _on_store(self, event: evt.Event) -> int:
        header = header_of(event.dataset)
        (self._plan.folder / f"{header.instance_uid}.dcm").write_bytes(event.encoded_dataset())
        self._keep(header)
        return _SUCCESS

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        keys = _UNIQUE_KEYS.get(query.get("QueryRetrieveLevel", ""))
        if keys is None:
            yield _INVALID_LEVEL, None
            return
        with self._lock:
            found = sorted(_unique(header) for header in self._headers.values())
        wanted = [(index, _values(query, key)) for index, key in enumerate(keys)]
        matching = [uids for uids in found if all(not w or uids[i] in w for i, w in wanted)]
        for uids, group in groupby(matching, key=lambda each: each[: len(keys)]):
            yield _PENDING, _answer(query.QueryRetrieveLevel, uids, len(list(group)))

    def _forward(self, headers: list[InstanceHeader]) -> None:
        ae = AE(ae_title=self.ae_title)
        for sop_class, syntax in sorted(
            {(h.sop_class_uid, h.transfer_syntax_uid) for h in headers}
        ):
            ae.add_requested_context(sop_class, syntax)
        association = ae.associate(
            HOST,
            self._plan.forward_port,
            ae_title=self._plan.forward_to,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
        )
        if not association.is_established:
            msg = f"{self._plan.forward_to} does not accept an association"
            raise SetupError(msg)
        for header in headers:
            assert header.path
            status = association.send_c_store(header.path)
            if status.get("Status") != _SUCCESS:
                msg = f"{self._plan.forward_to} refused an image: {status}"
                raise SetupError(msg)
        association.release()


def _send_at_once(event: evt.Event) -> None:
    """Turn Nagle's algorithm off: it costs 40 ms for each image."""
    wrapper = event.assoc.dul.socket
    assert wrapper
    assert wrapper.socket
    wrapper.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _unique(header: InstanceHeader) -> tuple[str, ...]:
    return header.study.study_uid, header.series.series_uid, header.instance_uid


def _values(query: Dataset, keyword: str) -> frozenset[str]:
    value = query.get(keyword) or []
    return frozenset([value] if isinstance(value, str) else map(str, value))


def _answer(level: str, uids: tuple[str, ...], count: int) -> Dataset:
    answer = Dataset()
    answer.QueryRetrieveLevel = level
    for keyword, uid in zip(_UNIQUE_KEYS[level], uids, strict=True):
        setattr(answer, keyword, uid)
    if level in _COUNTS:
        setattr(answer, _COUNTS[level], count)
    return answer
