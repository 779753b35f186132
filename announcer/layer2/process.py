"""The responder process: sockets and clock around the core in announcer/layer2/responder.py.

One thread, one poll loop, the standard library only. It ends when the socket to the speaker closes, also by SIGKILL.
"""

import contextlib
import errno
import math
import os
import re
import select
import signal
import socket
import struct
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Final

from announcer.layer2 import privileges
from announcer.layer2.encoding import MAX_MESSAGE, decode_command, encode_events
from announcer.layer2.gateways import read_gateways
from announcer.layer2.interfaces import DEFAULT_EXCLUDE, InterfaceView, compile_exclude
from announcer.layer2.messages import Exited
from announcer.layer2.netlink import RouteSocket
from announcer.layer2.responder import ArpResponder

_ETHERTYPE_ARP = 0x0806
_OTHERHOST: Final = socket.PACKET_OTHERHOST
_FRAME_BYTES = 128
_TICK_S = 0.1
"""Longest sleep: short against the gap that the core takes for a stall."""
_RETRY_S = 1.0
_COMMANDS_A_PASS = 4
_FRAMES_A_PASS = 32
_FRAMES_A_DRAIN = 4_096

_ARP: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x28, 0, 0, 12),  # load the EtherType
        (0x15, 0, 1, _ETHERTYPE_ARP),
        (0x06, 0, 0, _FRAME_BYTES),  # accept, cut to this length
        (0x06, 0, 0, 0),  # refuse
    )
)
"""Classic BPF: ARP only. A frame too short for a load is refused."""


def run(link: socket.socket, *, parent: int, exclude: Sequence[str] | None) -> int:
    """Follow what arrives on `link`, until it closes. Returns the exit status; failures go to the speaker.

    `exclude` holds regular expressions for the names of interfaces that carry nothing; None: those that MetalLB ships.
    """
    try:
        _settle(link, parent)
        loop = _Loop(link, compile_exclude(DEFAULT_EXCLUDE if exclude is None else exclude))
        loop.run()
    except ConnectionError:
        return 0
    except Exception as error:  # noqa: BLE001 - whatever it is, the speaker has to hear of it
        _last_word(link, f"the responder process failed: {type(error).__name__}: {error}")
        return 1
    return 0


def _settle(link: socket.socket, parent: int) -> None:
    """Become a process of its own: signals, descriptors, privileges."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    link.setblocking(False)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    _close_all_but(link.fileno())
    privileges.keep_only_raw_sockets()
    privileges.set_name("vipring-arp")
    privileges.die_with_parent()
    privileges.take_short_turns()
    privileges.release_memory()
    if os.getppid() != parent:
        raise ConnectionResetError("the speaker ended during the start")


def _close_all_but(kept: int) -> None:
    """Close what was inherited, standard streams apart."""
    # Not up to the limit: container runtimes set it to a thousand million.
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor > 2 and descriptor != kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _last_word(link: socket.socket, detail: str) -> None:
    # Where this does not get through, the end of the process does.
    with contextlib.suppress(OSError):
        for message in encode_events([Exited(detail)]):
            link.send(message)


class _Loop:
    """The sockets of the process and the core they feed."""

    def __init__(self, link: socket.socket, exclude: re.Pattern[str] | None) -> None:
        self._link = link
        self._exclude = exclude
        self._core = ArpResponder(now=monotonic(), entropy=os.urandom)
        self._poll = select.poll()
        self._poll.register(link, select.POLLIN)
        self._routes: RouteSocket | None = None
        self._sockets: dict[int, socket.socket] = {}
        self._receivers: dict[int, tuple[int, socket.socket]] = {}
        self._failed: dict[str, str] = {}
        self._making_known = False
        self._turn_at = monotonic()
        self._retry_at: float | None = self._turn_at
        self._unsent: deque[bytes] = deque()

    def run(self) -> None:
        """Run until the speaker closes its end. Raises ConnectionError where it broke."""
        while self._turn(self._answer()):
            pass

    def _answer(self) -> set[int]:
        """Answer requests as long as there is nothing else to do; returns the descriptors that are ready then.

        Whoever asks waits for each line of it, which has left the processor's caches since the last request; also for those
        after the reply, where the kernel has this process run on the processor of who asks. What waits beside a request, or
        was due before it, goes first: it may say not to answer.
        """
        poll, receivers, core, turn_at = self._poll.poll, self._receivers, self._core, self._turn_at
        now = turn_at if core.stalled else monotonic()
        while True:
            ready = poll((turn_at - now) * 1000 if now < turn_at else 0)
            now = monotonic()
            if len(ready) != 1 or now >= turn_at or ready[0][0] not in receivers:
                break
            self._read_frame(*receivers[ready[0][0]])
            if core.busy or core.stalled:
                break
        return {descriptor for descriptor, _ in ready}

    def _turn(self, ready: set[int]) -> bool:
        """Do everything that is to be done. False once the speaker has closed its end."""
        now = monotonic()
        self._core.observe(now)
        # A speaker that takes no events is not listened to: its lease runs out.
        listen = not self._unsent and (self._core.stalled or self._link.fileno() in ready)
        if listen and not self._read_commands(now):
            return False
        if self._routes is not None and self._routes.fileno() in ready:
            self._read_routes(now)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry(now)
        if self._core.stalled:
            for index in list(self._sockets):
                self._read_frames(index, _FRAMES_A_DRAIN)
            self._core.resume(monotonic())
        else:
            for descriptor in ready & self._receivers.keys():
                self._read_frames(self._receivers[descriptor][0], _FRAMES_A_PASS)
        now = monotonic()
        self._core.handle_timer(now)
        self._send_questions()
        self._send_gratuitous(now)
        self._send_events()
        making_known, self._making_known = self._making_known, self._core.making_known()
        if making_known and not self._making_known:
            privileges.release_memory()
        deadlines = (now + _TICK_S, self._core.next_deadline(), self._retry_at)
        self._turn_at = min(deadline for deadline in deadlines if deadline is not None)
        return True

    def _read_commands(self, now: float) -> bool:
        """Take in what the speaker said; after a stall all of it. False at the end of the connection."""
        remaining = math.inf if self._core.stalled else _COMMANDS_A_PASS
        while remaining > 0:
            try:
                message = self._link.recv(MAX_MESSAGE)
            except (BlockingIOError, InterruptedError):
                return True
            if not message:
                return False
            self._core.receive_command(decode_command(message), now=now)
            remaining -= 1
        return True

    def _send_events(self) -> None:
        if not self._unsent:
            self._unsent.extend(encode_events(self._core.take_outputs()))
        while self._unsent:
            try:
                self._link.send(self._unsent[0])
            except (BlockingIOError, InterruptedError):
                break
            self._unsent.popleft()
        self._poll.modify(self._link, select.POLLOUT if self._unsent else select.POLLIN)

    def _read_routes(self, now: float) -> None:
        assert self._routes is not None
        try:
            self._routes.read()
        except OSError as error:
            self._close_routes()
            self._report_failure("*", f"the list of interfaces cannot be read: {error}")
            self._retry_at = now + _RETRY_S
            return
        self._apply_interfaces(now)

    def _retry(self, now: float) -> None:
        self._retry_at = None
        if self._routes is None:
            try:
                self._routes = RouteSocket(self._exclude)
            except OSError as error:
                self._report_failure("*", f"the list of interfaces cannot be read: {error}")
                self._retry_at = now + _RETRY_S
                return
            self._poll.register(self._routes, select.POLLIN)
            self._failed.pop("*", None)
        self._apply_interfaces(now)

    def _close_routes(self) -> None:
        if self._routes is not None:
            self._poll.unregister(self._routes)
            self._routes.close()
            self._routes = None

    def _apply_interfaces(self, now: float) -> None:
        """Open and close sockets to match what the kernel told, and tell the core what can be used."""
        if self._routes is None or not self._routes.monitor.settled:
            return
        wanted = {view.index: view for view in self._routes.monitor.table.views()}
        for index in self._sockets.keys() - wanted.keys():
            self._close_socket(index)
        for index, view in wanted.items():
            if index not in self._sockets and not self._open_socket(view):
                self._retry_at = now + _RETRY_S
        self._core.set_gateways(read_gateways(wanted.values()), now=now)
        self._core.set_interfaces([wanted[index] for index in self._sockets], now=now)

    def _open_socket(self, view: InterfaceView) -> bool:
        try:
            opened = _arp_socket(view)
        except OSError as error:
            self._report_failure(view.name, f"no packet socket: {error}")
            return False
        self._failed.pop(view.name, None)
        self._sockets[view.index] = opened
        self._receivers[opened.fileno()] = view.index, opened
        self._poll.register(opened, select.POLLIN)
        return True

    def _close_socket(self, index: int) -> None:
        closed = self._sockets.pop(index)
        del self._receivers[closed.fileno()]
        self._poll.unregister(closed)
        closed.close()

    def _report_failure(self, interface: str, detail: str) -> None:
        if self._failed.get(interface) != detail:
            self._failed[interface] = detail
            self._core.interface_failed(interface, detail)

    def _read_frames(self, index: int, limit: int) -> None:
        receiver = self._sockets[index]
        for _ in range(limit):
            if not self._read_frame(index, receiver):
                return

    def _read_frame(self, index: int, receiver: socket.socket) -> bool:
        """Hand in one frame, and send the reply to it. False where there was none to read."""
        try:
            frame, sender = receiver.recvfrom(_FRAME_BYTES)
        except OSError as error:
            self._reading_failed(index, error)
            return False
        reply = self._core.receive_frame(index, frame, sender[2] == _OTHERHOST, monotonic())
        if reply is not None:
            self._core.reply_sent(index, frame, success=_send(receiver, reply))
        return True

    def _reading_failed(self, index: int, error: OSError) -> None:
        """Give up the socket unless nothing is left to read or its link is merely down, which netlink tells as well."""
        if isinstance(error, (BlockingIOError, InterruptedError)) or error.errno == errno.ENETDOWN:
            return
        now = monotonic()
        self._core.read_failed(now)
        self._close_socket(index)
        self._retry_at = now + _RETRY_S

    def _send_questions(self) -> None:
        for index, frame in self._core.take_questions():
            sender = self._sockets.get(index)
            if sender is not None:
                _send(sender, frame)

    def _send_gratuitous(self, now: float) -> None:
        for due, frame in self._core.take_frames(now):
            now = monotonic()
            if self._core.observe(now):
                return
            sender = self._sockets.get(due.interface)
            self._core.frame_sent(due, success=sender is not None and _send(sender, frame), now=now)


def _arp_socket(view: InterfaceView) -> socket.socket:
    """Open a packet socket that has received nothing but ARP of this interface from its first frame on."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        privileges.attach_filter(opened, _ARP)
        opened.bind((view.name, _ETHERTYPE_ARP))
        _require_index(view)
    except OSError:
        opened.close()
        raise
    return opened


def _require_index(view: InterfaceView) -> None:
    """Sockets are bound by name: make sure that the name was still that of the interface meant. Raises OSError."""
    if socket.if_nametoindex(view.name) != view.index:
        raise OSError(errno.ENODEV, f"{view.name} is another interface by now")


def _send(sender: socket.socket, frame: bytes) -> bool:
    try:
        sender.send(frame)
    except OSError:
        return False
    return True
