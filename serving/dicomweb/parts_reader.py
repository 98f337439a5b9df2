"""Reading a multipart body (RFC 2046 5.1) piece by piece, so that no part is ever held whole."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from imaging.errors import InputError

_LONGEST_HEAD = 16 << 10
_BLANK = b"\r\n\r\n"
_DASHES = 2


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part begins, with these headers (names in lower case)."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class PartBytes:
    """More bytes of the part that has begun."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is whole."""


Piece = PartBegins | PartBytes | PartEnds


@dataclass(slots=True)
class PartsReader:
    """Takes the body as it arrives and tells what is in it.

    `ended`: the closing delimiter has been seen. What follows it is ignored.
    """

    boundary: str
    ended: bool = False
    _buffer: bytearray = field(default_factory=lambda: bytearray(b"\r\n"))
    _state: str = "preamble"

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what these bytes complete.

        Raises
        ------
        InputError
            The headers of a part are too long.
        """
        if self.ended:
            return
        self._buffer += data
        while not self.ended:
            piece = self._next()
            if piece is None:
                return
            yield from piece

    @property
    def _delimiter(self) -> bytes:
        return b"\r\n--" + self.boundary.encode("latin_1", "replace")

    def _next(self) -> tuple[Piece, ...] | None:
        """Return the pieces of one step, ``None`` when more bytes are needed."""
        match self._state:
            case "head":
                return self._head()
            case "delimited":
                return self._delimited()
            case _:
                return self._content()

    def _content(self) -> tuple[Piece, ...] | None:
        at = self._buffer.find(self._delimiter)
        inside = self._state == "body"
        if at < 0:
            safe = len(self._buffer) - len(self._delimiter)
            data = self._taken(max(safe, 0))
            return (PartBytes(data),) if inside and data else None
        data = self._taken(at)
        self._taken(len(self._delimiter))
        self._state = "delimited"
        if not inside:
            return ()
        return (PartBytes(data), PartEnds()) if data else (PartEnds(),)

    def _delimited(self) -> tuple[Piece, ...] | None:
        """After a delimiter: either two dashes and the end, or blanks and a line of headers."""
        if len(self._buffer) < _DASHES:
            return None
        if self._buffer.startswith(b"--"):
            self.ended = True
            return ()
        self._state = "head"
        return ()

    def _head(self) -> tuple[Piece, ...] | None:
        end = self._buffer.find(_BLANK)
        if end < 0:
            if len(self._buffer) > _LONGEST_HEAD:
                msg = "the headers of a part are too long"
                raise InputError(msg)
            return None
        text = self._taken(end + len(_BLANK)).decode("latin_1")
        lines = (line.partition(":") for line in text.split("\r\n") if ":" in line)
        self._state = "body"
        return (PartBegins({name.strip().lower(): value.strip() for name, _, value in lines}),)

    def _taken(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data
