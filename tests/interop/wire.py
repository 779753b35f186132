"""What stands in for the segment's ARP beside a mixed ring: every host answers small datagrams on a port of its own.

On the host of one of ours the answers come from a process apart, as a speaker's come from its responder: they tell that
the machine lives, whatever the member does, and stop with the machine. On any other host they come for its kernel, which
answers ARP as well: they prove the asker's link and nothing else. The datagrams are lost as the ring's are.

Run as `python -m tests.interop.wire ADDRESS` it answers until its standard input ends.
"""

import contextlib
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence

import anyio

from announcer.layer2.evidence import APART_S, QUESTIONS
from gossip.watch import WireAnswer

PORT = 7947


async def ask(address: str, witnesses: Iterable[str]) -> tuple[WireAnswer, bool]:
    """Whether a member's machine answered, asked as often and for as long as a responder asks; and whether any of the
    witnesses did in the same time, so that our own link works."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    nonce = secrets.token_bytes(8)
    heard: set[str] = set()
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        for _ in range(QUESTIONS):
            for host in (address, *witnesses):
                with contextlib.suppress(OSError):
                    asker.sendto(nonce, (host, PORT))
            await anyio.sleep(APART_S)
        # All at the end: what came while this process stood still is in the socket as well.
        with contextlib.suppress(BlockingIOError):
            while True:
                data, source = asker.recvfrom(64)
                if data == nonce:
                    heard.add(source[0])
    return WireAnswer.ANSWERED if address in heard else WireAnswer.SILENT, bool(heard - {address})


@contextlib.contextmanager
def answering(address: str, enter: Sequence[str] = ()) -> Iterator[int]:
    """Have a host answer, no longer than this process lives; the id of what answers. `enter` leads to the host."""
    command = [*enter, sys.executable, "-m", "tests.interop.wire", address]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as responder:
        try:
            yield responder.pid
        finally:
            responder.kill()


def answer(address: str) -> None:
    """Send every datagram back to where it came from."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as responder:
        responder.bind((address, PORT))
        while True:
            data, source = responder.recvfrom(64)
            responder.sendto(data, source)


if __name__ == "__main__":
    threading.Thread(target=answer, args=sys.argv[1:2], daemon=True).start()
    sys.stdin.buffer.read()
