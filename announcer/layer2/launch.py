"""Forks the responder process, while there is nothing yet that it would have to carry along.

Imports next to nothing: everything that is imported before the fork stays in the responder for ever.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from announcer.errors import ResponderError

if TYPE_CHECKING:
    from announcer.layer2.handle import Responder


def launch(exclude: Sequence[str] | None = None) -> Responder:
    """Fork the responder; returns in the speaker only. To be called while the process has one thread, and before anything
    that the responder has no use for is imported.

    `exclude` holds regular expressions, matched anywhere in an interface name; such interfaces carry nothing (None: those
    that MetalLB ships). Raises ResponderError where no process can be started. What the responder cannot do, one of the
    expressions included, it tells by the event Exited.
    """
    parent = os.getpid()
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
    except OSError as error:
        raise ResponderError(f"the responder process cannot be started: {error}") from None
    if pid == 0:
        ours.close()
        _become_responder(theirs, parent, exclude)
    theirs.close()
    ours.setblocking(False)
    from announcer.layer2.handle import Responder

    return Responder(link=ours, pid=pid)


def require_raw_sockets() -> None:
    """Raise ResponderError where raw sockets are not permitted."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise ResponderError(
            "opening a raw packet socket is not permitted: the speaker needs the capability CAP_NET_RAW"
        ) from None
    except OSError as error:
        raise ResponderError(f"opening a raw packet socket failed: {error}") from None


def _become_responder(link: socket.socket, parent: int, exclude: Sequence[str] | None) -> NoReturn:
    """Run the responder in the forked child; nothing of the speaker runs after it, whatever happens."""
    status = 1
    try:
        # hashlib then computes SHA-256 itself: OpenSSL would be 4 MB more, a third of the process.
        sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]
        from announcer.layer2.process import run

        gc.collect()
        gc.freeze()

        status = run(link, parent=parent, exclude=exclude)
    finally:
        os._exit(status)
