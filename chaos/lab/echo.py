"""A tiny echo server: answers every UDP datagram with `NODE payload`, and every TCP line likewise.

Environment: PORT (7), NODE_NAME (the host's name where it is not set). Standard library only.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys


def _stop(_number: int, _frame: object) -> None:
    # As PID 1 of a container this process gets no signal that it does not handle.
    sys.exit(0)


def _listen(port: int) -> tuple[socket.socket, socket.socket]:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("0.0.0.0", port))
    streams = socket.create_server(("0.0.0.0", port), backlog=128)
    for found in (datagrams, streams):
        found.setblocking(False)
    return datagrams, streams


def main() -> int:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, _stop)
    port = int(os.environ.get("PORT", "7"))
    name = os.environ.get("NODE_NAME", socket.gethostname()).encode()
    datagrams, streams = _listen(port)
    selector = selectors.DefaultSelector()
    selector.register(datagrams, selectors.EVENT_READ)
    selector.register(streams, selectors.EVENT_READ)
    print(f"echo on port {port} as {name.decode()}", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is datagrams:
                _answer(datagrams, name)
            elif key.fileobj is streams:
                connection, _ = streams.accept()
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ)
            elif isinstance(key.fileobj, socket.socket) and not _echo(key.fileobj, name):
                selector.unregister(key.fileobj)
                key.fileobj.close()


def _answer(datagrams: socket.socket, name: bytes) -> None:
    """Answer all that has come in."""
    try:
        while True:
            data, source = datagrams.recvfrom(65535)
            datagrams.sendto(name + b" " + data, source)
    except OSError:
        # Nothing more, or a client that cannot be reached: neither is ours to mend.
        return


def _echo(connection: socket.socket, name: bytes) -> bool:
    """Answer what a connection sent; False when it is over."""
    try:
        data = connection.recv(65536)
        if data:
            connection.sendall(name + b" " + data)
    except OSError:
        return False
    return bool(data)


if __name__ == "__main__":
    sys.exit(main())
