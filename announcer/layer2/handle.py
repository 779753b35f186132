"""The speaker's end of the responder process.

The responder is forked before the speaker imports anything heavy, so that it stays small and no garbage collection,
JSON or interpreter lock of the speaker delays an answer. It holds the only raw sockets of the speaker.
"""

import gc
import os
import re
import select
import signal
import socket
import time
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address
from typing import NoReturn, Self

from announcer.errors import MessageError, ResponderError
from announcer.layer2.interfaces import DEFAULT_EXCLUDE, compile_exclude
from announcer.layer2.messages import (
    MAX_MESSAGE,
    Exited,
    LeaseExpired,
    ResponderEvent,
    decode_events,
    encode_add,
    encode_remove,
    encode_renew,
)

_EVENTS_A_CALL = 1_024
_VERSION = 4


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
        self._desired: frozenset[bytes] = frozenset()
        self._sent: set[bytes] = set()

    @classmethod
    def fork(cls, *, exclude: Sequence[str] = DEFAULT_EXCLUDE) -> Self:
        """Start the process; returns in the speaker only. To be called while the process has one thread.

        `exclude` holds regular expressions, matched anywhere in an interface name; such interfaces carry nothing.
        Raises ResponderError for an expression that is not one, where raw sockets are not permitted, and where no
        process can be started.
        """
        compiled = compile_exclude(exclude)
        _require_raw_sockets()
        parent = os.getpid()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
        except OSError as error:
            raise ResponderError(f"the responder process cannot be started: {error}") from None
        if pid == 0:
            ours.close()
            _become_responder(theirs, parent, compiled)
        theirs.close()
        ours.setblocking(False)
        return cls(link=ours, pid=pid)

    def fileno(self) -> int:
        """Descriptor that is readable while events wait; -1 after `close` or once `events` returned Exited."""
        return self._link.fileno()

    def announce(self, addresses: Collection[IPv4Address]) -> None:
        """Make `addresses` the whole table: answer for these and no others. Repeating it costs no message.

        Addresses that were not in the table get a gratuitous burst on every interface. While a LeaseExpired waits in
        `events`, the table stays empty, whatever is asked here. Raises ResponderError for an IPv6 address.
        """
        for address in addresses:
            if address.version != _VERSION:
                raise ResponderError(f"{address}: ARP announces IPv4 addresses only")
        self._desired = frozenset(address.packed for address in addresses)
        self._push()

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
                    self._desired = frozenset()
                    self._sent.clear()
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

    def _push(self) -> None:
        """Send the difference between what is wanted and what was sent; the rest follows at the next call."""
        if self._desired == self._sent:
            return
        now = time.monotonic()
        for message, part in encode_remove(list(self._sent - self._desired), epoch=self._epoch, at=now):
            if not self._send(message):
                return
            self._sent.difference_update(part)
        for message, part in encode_add(list(self._desired - self._sent), epoch=self._epoch, at=now):
            if not self._send(message):
                return
            self._sent.update(part)

    def _send(self, message: bytes) -> bool:
        # A full buffer and a dead responder both end in an event: a lease that ran out, or Exited.
        try:
            self._link.send(message)
        except OSError:
            return False
        return True


def _require_raw_sockets() -> None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise ResponderError(
            "opening a raw packet socket is not permitted: the speaker needs the capability CAP_NET_RAW"
        ) from None
    except OSError as error:
        raise ResponderError(f"opening a raw packet socket failed: {error}") from None


def _become_responder(link: socket.socket, parent: int, exclude: re.Pattern[str] | None) -> NoReturn:
    """Run the responder in the forked child; nothing of the speaker runs after it, whatever happens."""
    status = 1
    try:
        from announcer.layer2.process import run

        gc.freeze()

        status = run(link, parent=parent, exclude=exclude)
    finally:
        os._exit(status)


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
