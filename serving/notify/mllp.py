"""One HL7 message over MLLP (minimal lower layer protocol), within limits of time and size."""

import socket
import ssl
import time
from contextlib import closing

from dicom_node.scu import Timeouts
from serving.notify import hl7
from serving.notify.target import Target
from serving.notify.told import Told

_START, _END = b"\x0b", b"\x1c\x0d"
_LONGEST = 1 << 20


def send(target: Target, message_id: str, body: bytes, *, timeouts: Timeouts) -> Told:
    """Send a message on a connection of its own, and return what the answer says."""
    try:
        with closing(_connected(target, timeouts.connect_s)) as line:
            line.settimeout(timeouts.reply_s)
            line.sendall(_START + body + _END)
            return hl7.judged(_answer(line, timeouts.reply_s), hl7.control_id(message_id))
    except TimeoutError:
        return Told(verdict="waiting", words="no answer in time")
    except ssl.SSLError as error:
        return Told(verdict="waiting", words=f"TLS fails: {error.reason}")
    except (OSError, EOFError, ValueError) as error:
        return Told(verdict="waiting", words=f"no answer: {str(error) or type(error).__name__}")


def _connected(target: Target, seconds: float) -> socket.socket:
    line = socket.create_connection(target.address(), timeout=seconds)
    if not target.tls:
        return line
    try:
        return target.tls_context().wrap_socket(line, server_hostname=target.host)
    except BaseException:
        line.close()
        raise


def _answer(line: socket.socket, seconds: float) -> bytes:
    read, until = b"", time.monotonic() + seconds
    while _END not in read:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        line.settimeout(left_s)
        more = line.recv(1 << 16)
        if not more:
            msg = "the connection was closed"
            raise EOFError(msg)
        read += more
        if len(read) > _LONGEST:
            msg = "it is too long"
            raise ValueError(msg)
    _, _, framed = read.partition(_START)
    return framed.partition(_END)[0]
