"""What one peer, and all peers together, may ask of the listener."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of connections, associations and messages.

    `half_open` connections may wait at the same time for `associate_s` before they have asked for
    an association. A PDU or message that takes longer than `grace_s` must come at `slowest_rate`
    bytes a second. An association on which nothing is said for `idle_s` ends.
    """

    associations: int = 128
    associations_of_peer: int = 32
    half_open: int = 64
    associate_s: float = 10.0
    idle_s: float = 300.0
    grace_s: float = 30.0
    slowest_rate: int = 4096
    pdu_bytes: int = 1 << 20
    message_bytes: int = 2 << 30
    contexts: int = 128

    def longest_s(self, size: int) -> float:
        """Seconds that `size` bytes may take."""
        return self.grace_s + size / self.slowest_rate
