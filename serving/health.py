"""Whether the parts of an installation work, asked afresh each time."""

import http.client
import socket
import ssl

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.archive import Archive, Space
from dicom_node.certificates import Validity
from dicom_node.index import Index
from serving.certificates import validities
from serving.settings import Settings
from serving.slots import NO_WORKERS, open_slots

_CONNECT_S = 2.0
SPACE = {
    Space.ENOUGH: "ok",
    Space.LOW: "free space is low: new associations are refused",
    Space.SHORT: "there is not enough free space: nothing is accepted, analyses wait",
}


class Health:
    """Asks database, storage and node."""

    def __init__(self, settings: Settings, index: Index, archive: Archive) -> None:
        self._settings, self._index, self._archive = settings, index, archive

    def parts(self) -> dict[str, str]:
        """Return each part with "ok" or its problem."""
        return {
            "database": self._database(),
            "storage": self._storage(),
            "node": self._node(),
            "worker": self._worker(),
        }

    def certificates(self) -> tuple[Validity, ...]:
        """Return how long the certificates are good."""
        return tuple(validities(self._settings))

    def _database(self) -> str:
        try:
            with self._index.engine.connect() as db:
                db.execute(sa.text("SELECT 1"))
        except SQLAlchemyError as error:
            return f"the database does not answer: {type(error).__name__}"
        return "ok"

    def _storage(self) -> str:
        try:
            return SPACE[self._archive.space()]
        except OSError as error:
            return f"the data folder cannot be read: {error.strerror}"

    def _worker(self) -> str:
        slots = open_slots(self._settings.work_url, self._settings.slots_folder)
        try:
            return "ok" if set(slots.held()) - NO_WORKERS else "no worker runs"
        except SQLAlchemyError as error:
            return f"the work engine's database does not answer: {type(error).__name__}"

    def _node(self) -> str:
        node = self._settings.node
        if answers(node.host, node.first_port):
            return "ok"
        return f"the DICOM listener does not answer on port {node.first_port}"


def is_ours(host: str, port: int, *, https: bool) -> bool:
    """Whether the web process of a Wetread answers there; whose certificate it shows is all one."""
    connection = http.client.HTTPConnection(_reached(host), port, timeout=_CONNECT_S)
    if https:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            _reached(host), port, timeout=_CONNECT_S, context=context
        )
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.read() == b'{"status":"ok"}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def answers(host: str, port: int) -> bool:
    """Whether something accepts connections there; all interfaces are asked by loopback."""
    try:
        socket.create_connection((_reached(host), port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def _reached(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104
