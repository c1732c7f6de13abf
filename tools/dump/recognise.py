"""Which datagrams of a capture are ours: by the relay's port if it is known, else by what they look like.

An endpoint that once was seen to be a relay stays one, so everything to and from it is shown from then on, malformed
datagrams too. What is nobody's is counted.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from protocol import codec
from protocol.constants import DEFAULT_PORT, AckFlag, Kind
from protocol.drops import DropReason
from tools.dump.datagrams import Datagram, Direction, Endpoint, Flow

UP_KINDS = frozenset({Kind.HELLO, Kind.JOIN, Kind.PING, Kind.BYE, Kind.PATH_RESPONSE, Kind.LIST, Kind.DATA})
"""What a client may send (SPEC 11)."""
DOWN_KINDS = frozenset(Kind) - (UP_KINDS - {Kind.BYE})
"""What a relay may send."""
MAX_TRIES = 64
"""Datagrams of one flow that are looked into before it is taken for foreign (chosen: two seconds of a player)."""
MAX_RELAYS = 65_536
"""Endpoints remembered as relays; beyond it new ones are found by their port only."""

_TELLING = frozenset({Kind.HELLO, Kind.PING, Kind.DATA, Kind.UPDATE})
"""Kinds with so much fixed content that strangers' datagrams do not pass for them. The others come after one of these,
or after nothing that would tell whose they are."""


class Recogniser:
    """Tells ours from foreign traffic, and which end of a flow is the relay."""

    def __init__(self, ports: Iterable[int] = ()) -> None:
        """Begin without knowing anybody.

        Args:
            ports: UDP ports of relays; then nothing else is ours. Without any it is the usual port, and whatever looks
                like our protocol.
        """
        self._ports = frozenset(ports) or frozenset({DEFAULT_PORT})
        self._guesses = not frozenset(ports)
        self._relays: set[Endpoint] = set()
        self.num_foreign = 0
        """Datagrams that are not ours."""
        self.foreign_ports: Counter[int] = Counter()
        """Where foreign datagrams went to; a hint for who forgot --port."""

    def is_ours(self, datagram: Datagram) -> bool:
        """Tell whether a datagram is between a client and a relay, and learn about its flow. Raises: nothing."""
        flow = datagram.flow
        if flow.is_ours or self._learn(flow, datagram.data):
            return True
        self.num_foreign += 1
        if len(self.foreign_ports) < MAX_RELAYS or flow.target.port in self.foreign_ports:
            self.foreign_ports[flow.target.port] += 1
        return False

    def _learn(self, flow: Flow, data: bytes) -> bool:
        if flow.target.port in self._ports or flow.target in self._relays:
            flow.learn(Direction.UP)
        elif flow.source.port in self._ports or flow.source in self._relays:
            flow.learn(Direction.DOWN)
        elif self._guesses and flow.tries < MAX_TRIES and len(self._relays) < MAX_RELAYS:
            flow.tries += 1
            direction = guess_direction(data)
            if direction is not Direction.UNKNOWN:
                flow.learn(direction)
                self._relays.add(flow.relay)
        return flow.is_ours


def guess_direction(data: bytes) -> Direction:
    """Tell from its content alone whether a datagram is certainly ours, and which way it goes; else UNKNOWN."""
    if not data or data[0] not in _TELLING:
        return Direction.UNKNOWN
    value = codec.decode(data)
    if isinstance(value, DropReason):
        return Direction.UNKNOWN
    if data[0] in (Kind.DATA, Kind.UPDATE) and not _is_plausible(value):
        return Direction.UNKNOWN
    return Direction.DOWN if data[0] == Kind.UPDATE else Direction.UP


def _is_plausible(value: Any) -> bool:
    """Tell whether a header is one that a client or relay writes: short foreign datagrams can have the layout."""
    header = value.header
    if header.flags == AckFlag.NOTHING_RECEIVED:
        acks = header.ack == header.ack_bits == header.ack_delay == 0
    else:
        acks = header.flags == 0 and header.ack > 0
    own = header.reserved == 0 if header.kind == Kind.DATA else header.tick > 0
    return bool(header.session != 0 and acks and own)
