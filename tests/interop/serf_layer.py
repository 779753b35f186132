"""As much of serf's own layer as a member needs that says hello and goodbye to agents and passes on what they say."""

import msgpack

from gossip.outputs import RemoteState, UserMessage
from gossip.shell import Ring

LEAVE, JOIN, STATE = 0, 1, 2
PASSED_ON = (0, 1, 3, 4)
"""Leave intent, join intent, user event, query."""


class SerfLayer:
    """A Lamport clock and the intents of one member (serf serf/serf.go, serf/messages.go)."""

    def __init__(self, name: str, ring: Ring) -> None:
        self.name = name
        self.ring = ring
        self._clock = 1
        self._passed: set[bytes] = set()

    async def listen(self) -> None:
        """Follow the clocks of others, and gossip on what is said for the first time."""
        async for event in self.ring.messages:
            if isinstance(event, RemoteState) and event.state[:1] == bytes((STATE,)):
                self._witness(msgpack.unpackb(event.state[1:], raw=True)[b"LTime"] - 1)
            elif isinstance(event, UserMessage) and event.payload[:1] and event.payload[0] in PASSED_ON:
                if event.payload in self._passed:
                    continue
                if event.payload[0] in (LEAVE, JOIN):
                    self._witness(msgpack.unpackb(event.payload[1:], raw=True)[b"LTime"])
                await self._say(event.payload)

    async def hello(self) -> None:
        """Announce that this member joined, as agents do after a join."""
        await self._intend(JOIN, {"LTime": self._clock, "Node": self.name})

    async def goodbye(self) -> None:
        """Announce that this member means to leave; without it agents take a leave for a failure."""
        self._clock += 1
        await self._intend(LEAVE, {"LTime": self._clock, "Node": self.name, "Prune": False})

    async def _intend(self, kind: int, intent: dict[str, object]) -> None:
        await self._say(bytes((kind,)) + msgpack.packb(intent, use_bin_type=False))

    async def _say(self, payload: bytes) -> None:
        self._passed.add(payload)
        await self.ring.broadcast_user(payload)

    def _witness(self, seen: int) -> None:
        self._clock = max(self._clock, seen + 1)
