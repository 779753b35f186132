"""The speaker's end of the responder process.

The responder is forked before the speaker imports anything (announcer/layer2/launch.py), so that it stays small and no
garbage collection, JSON or interpreter lock of the speaker delays an answer. It holds the only raw sockets of the speaker.
"""

import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from ipaddress import IPv4Address
from typing import NamedTuple

from announcer.errors import MessageError, ResponderError
from announcer.layer2.claims import ANYONE
from announcer.layer2.encoding import (
    MAX_MESSAGE,
    decode_events,
    encode_add,
    encode_ask,
    encode_hand_over,
    encode_introduce,
    encode_members,
    encode_pace,
    encode_remove,
    encode_renew,
)
from announcer.layer2.messages import Exited, LeaseExpired, ResponderEvent
from announcer.layer2.signed import claim_key, name_hash
from announcer.layer2.turns import LAST_TURN

_EVENTS_A_CALL = 1_024
_VERSION = 4


class _Will(IntEnum):
    """What is wanted for an address; in the order in which it is told."""

    NONE = 0
    HAND_OVER = 1
    OWN = 2


class _Intent(NamedTuple):
    will: _Will
    known: bool = False
    to: bytes = b""
    turn: int = LAST_TURN


class Responder:
    """A running responder process, as the speaker sees it. Not safe for use by several threads.

    Wait for `fileno()` to become readable, then call `events()`. No method blocks, except `close` for the moment
    that the process needs to end.
    """

    pid: int

    def __init__(self, *, link: socket.socket, pid: int) -> None:
        self.pid = pid
        self._link = link
        self._epoch = 0
        self._intents: dict[bytes, _Intent] = {}
        self._dirty: dict[bytes, None] = {}
        self._later: deque[bytes] = deque()
        self._names: dict[bytes, str] = {b"": ""}

    def fileno(self) -> int:
        """Descriptor that is readable while events wait; -1 after `close` or once `events` returned Exited."""
        return self._link.fileno()

    def announce(self, addresses: Collection[IPv4Address]) -> None:
        """Make `addresses` the whole table: answer for these and no others. Repeating it costs no message.

        Raises ResponderError for an IPv6 address.
        """
        wanted = _packed(addresses)
        self._intend(wanted - self._intents.keys(), _Intent(_Will.OWN))
        self._intend(
            [
                address
                for address, intent in self._intents.items()
                if address not in wanted and intent.will is not _Will.NONE
            ],
            _Intent(_Will.NONE),
        )
        self._push()

    def own(self, addresses: Collection[IPv4Address], *, known: bool = False, turn: int = LAST_TURN) -> None:
        """Answer for these addresses as well, once the wire was asked. `known`: a member announced them before, so what
        a stranger answers does not count. Addresses that begin to be answered for get a gratuitous burst; where many have to
        wait for the pace, those of a lower `turn` (32 bits, signed) go first.

        While a LeaseExpired waits in `events`, the table stays empty, whatever is asked here. Raises ResponderError for
        an IPv6 address.
        """
        self._intend(_packed(addresses), _Intent(_Will.OWN, known=known, turn=turn))
        self._push()

    def hand_over(self, addresses: Collection[IPv4Address], to: str | None) -> None:
        """Answer for these addresses, as far as they are answered for now, until the member `to` (None: whoever asks)
        has taken over. Before `introduce` they are let go at once. Raises ResponderError for an IPv6 address."""
        successor = name_hash(to) if to is not None else ANYONE
        self._intend(_packed(addresses), _Intent(_Will.HAND_OVER, to=successor))
        self._push()

    def drop(self, addresses: Collection[IPv4Address]) -> None:
        """Answer for these addresses no longer. Raises ResponderError for an IPv6 address."""
        self._intend(_packed(addresses), _Intent(_Will.NONE))
        self._push()

    def introduce(self, name: str, keys: Sequence[bytes]) -> None:
        """Tell which member of the ring this node is, and the keys of the ring (as its keyring: the first one signs).

        From here on an address is answered for only once the wire was asked, and members know each other's answers.
        """
        now = time.monotonic()
        derived = [claim_key(key) for key in keys]
        self._later.append(encode_introduce(name, derived, epoch=self._epoch, at=now))
        self._push()

    def pace(self, frames_per_s: int) -> None:
        """Let at most so many gratuitous frames a second leave, those to single hosts included."""
        self._later.append(encode_pace(frames_per_s, epoch=self._epoch, at=time.monotonic()))
        self._push()

    def set_members(self, names: Collection[str], *, alive: bool) -> None:
        """Tell which members the ring holds alive, or no longer."""
        hashes = {name_hash(name): name for name in names}
        self._names.update(hashes)
        messages = encode_members(list(hashes), alive=alive, epoch=self._epoch, at=time.monotonic())
        self._later += [message for message, _ in messages]
        self._push()

    def ask(self, name: str, address: IPv4Address) -> None:
        """Ask a member on the wire whether it lives; a MemberEvidence follows. `address` is what it has in the ring."""
        # A full buffer means that nobody listens: the ring goes on without the wire.
        self._send(encode_ask(name_hash(name), address.packed, epoch=self._epoch, at=time.monotonic()))

    def name_of(self, hashed: bytes) -> str:
        """The name behind a hashed one of an event; empty for nobody, hexadecimal where the ring never told it."""
        return self._names.get(hashed, hashed.hex())

    def renew(self) -> None:
        """Extend the lease of the table from this moment; to be called every 0.25 s by the loop that decides."""
        self._push()
        self._send(encode_renew(epoch=self._epoch, at=time.monotonic()))

    def events(self) -> list[ResponderEvent]:
        """Return what the responder reported, oldest first; a long backlog takes several calls."""
        events: list[ResponderEvent] = []
        while len(events) < _EVENTS_A_CALL and self._link.fileno() != -1:
            try:
                message = self._link.recv(MAX_MESSAGE)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                message = b""
            received = self._read(message)
            for event in received:
                if isinstance(event, LeaseExpired):
                    # Only now does the caller know: until here its calls spoke of the table that ended.
                    self._epoch = event.epoch
                    self._intents.clear()
                    self._dirty.clear()
                elif isinstance(event, Exited):
                    self.close()
            events += received
        return events

    def close(self) -> None:
        """End the process and wait for it. Calling it again does nothing."""
        if self._link.fileno() == -1:
            return
        self._link.close()
        _reap(self.pid)

    def _read(self, message: bytes) -> list[ResponderEvent]:
        if not message:
            self._link.close()
            return [Exited(f"the responder process {_reap(self.pid)}")]
        try:
            return decode_events(message)
        except MessageError as error:
            return [Exited(f"the responder process sent what cannot be read: {error}")]

    def _intend(self, addresses: Iterable[bytes], intent: _Intent) -> None:
        for address in addresses:
            if self._intents.get(address) != intent:
                self._intents[address] = intent
                self._dirty[address] = None

    def _push(self) -> None:
        """Send what is wanted and was not sent yet; what the socket does not take follows at the next call."""
        while self._later:
            if not self._send(self._later[0]):
                return
            self._later.popleft()
        now = time.monotonic()
        by_intent: dict[_Intent, list[bytes]] = {}
        for address in self._dirty:
            by_intent.setdefault(self._intents[address], []).append(address)
        for intent, addresses in sorted(by_intent.items(), key=lambda item: (item[0].will, item[0].turn)):
            for message, part in self._encode(intent, addresses, now):
                if not self._send(message):
                    return
                for address in part:
                    del self._dirty[address]
                    if intent.will is _Will.NONE:
                        del self._intents[address]

    def _encode(
        self, intent: _Intent, addresses: list[bytes], now: float
    ) -> list[tuple[bytes, Sequence[bytes]]]:
        match intent.will:
            case _Will.NONE:
                return encode_remove(addresses, epoch=self._epoch, at=now)
            case _Will.HAND_OVER:
                return encode_hand_over(addresses, to=intent.to, epoch=self._epoch, at=now)
            case _Will.OWN:
                return encode_add(addresses, known=intent.known, turn=intent.turn, epoch=self._epoch, at=now)

    def _send(self, message: bytes) -> bool:
        # A full buffer and a dead responder both end in an event: a lease that ran out, or Exited.
        try:
            self._link.send(message)
        except OSError:
            return False
        return True


def _packed(addresses: Collection[IPv4Address]) -> set[bytes]:
    for address in addresses:
        if address.version != _VERSION:
            raise ResponderError(f"{address}: ARP announces IPv4 addresses only")
    return {address.packed for address in addresses}


def _reap(pid: int) -> str:
    """Wait for a child whose socket was closed, kill it after a second; tell how it ended."""
    try:
        ended = os.pidfd_open(pid)
        try:
            select.select([ended], [], [], 1.0)
        finally:
            os.close(ended)
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except (ChildProcessError, ProcessLookupError):
        return "is gone"
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
