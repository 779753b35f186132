"""The resident processes: `vipring speaker` and `vipring controller`.

Imports next to nothing at module level: the speaker's responder is forked while the process is still small.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from vipring import __version__

if TYPE_CHECKING:
    import socket

    from announcer.layer2.handle import Responder
    from controller.options import ControllerOptions
    from speaker.options import SpeakerOptions
    from vipring.serve import Pages

EXIT_FAILED = 1


def fail(program: str, text: str, status: int) -> int:
    """Say in one line on standard error why the process ends; the exit status."""
    print(f"vipring {program}: {text}", file=sys.stderr, flush=True)
    return status


def speaker(argv: Sequence[str]) -> int:
    """Run a speaker until SIGTERM or SIGINT; the exit status."""
    from announcer.errors import AnnouncerError
    from announcer.layer2.launch import launch, require_raw_sockets

    try:
        responder = launch()
    except AnnouncerError as error:
        return fail("speaker", str(error), EXIT_FAILED)

    from vipring.flags import FlagError, parse_speaker

    try:
        options = parse_speaker(argv, os.environ)
        require_raw_sockets()
        responder.pace(options.gratuitous_per_s)
        return _speaker(options, responder)
    except FlagError as error:
        return fail("speaker", str(error), error.status)
    except AnnouncerError as error:
        return fail("speaker", str(error), EXIT_FAILED)
    finally:
        responder.close()


def _speaker(options: SpeakerOptions, responder: Responder) -> int:
    from vipring.logs import configure

    configure(node=options.node_name)
    from speaker.main import Speaker
    from speaker.metrics import registry
    from vipring.serve import Pages

    async def main(listener: socket.socket) -> None:
        made = Speaker(options, responder)
        pages = Pages(
            registry=registry(made.state), ready=made.ready, healthy=made.healthy, status=made.status
        )
        await _live(pages, listener, made.run, made.stop)

    return _run("speaker", options.http_host, options.http_port, main)


def controller(argv: Sequence[str]) -> int:
    """Run a controller until SIGTERM or SIGINT; the exit status."""
    from vipring.flags import FlagError, parse_controller

    try:
        options = parse_controller(argv, os.environ)
    except FlagError as error:
        return fail("controller", str(error), error.status)
    return _controller(options)


def _controller(options: ControllerOptions) -> int:
    from vipring.logs import configure

    configure()
    from controller.main import Controller
    from vipring.serve import Pages

    async def main(listener: socket.socket) -> None:
        made = Controller(options)
        pages = Pages(registry=made.registry(), ready=made.ready, healthy=made.healthy, status=made.status)
        await _live(pages, listener, made.run, made.stop)

    return _run("controller", options.http_host, options.http_port, main)


def _run(program: str, host: str, port: int, main: Callable[[socket.socket], Awaitable[None]]) -> int:
    """Open the HTTP port, run `main` in an event loop, and turn what ends it into lines and an exit status."""
    import anyio
    import structlog

    from cluster.errors import ClusterError
    from gossip.errors import GossipError
    from vipring.serve import listen

    log = structlog.get_logger()
    try:
        listener = listen(host, port)
    except OSError as error:
        return fail(program, f"--port {port}: cannot listen on {host or '*'}: {error.strerror}", EXIT_FAILED)
    log.info(
        "startup", op="startup", program=program, version=__version__, pid=os.getpid(), http=f"{host}:{port}"
    )
    # What is imported lives for ever; a full collection need not walk it and stall the loop.
    gc.collect()
    gc.freeze()
    failure: Exception | None = None
    try:
        with listener:
            anyio.run(main, listener)
    except Exception as error:  # noqa: BLE001  (whatever ends the process is told in its log)
        failure = error
    for leaf in leaves(failure) if failure is not None else ():
        expected = isinstance(leaf, ClusterError | GossipError | OSError)
        log.error(str(leaf) or type(leaf).__name__, op="run", exc_info=None if expected else leaf)
    log.info("shutdown", op="shutdown", failed=failure is not None)
    return EXIT_FAILED if failure is not None else 0


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions inside a group, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


async def _live(
    pages: Pages, listener: socket.socket, run: Callable[[], Awaitable[None]], stop: Callable[[], None]
) -> None:
    """Serve the pages while `run` lives; the first SIGTERM or SIGINT asks it to stop, the second ends it at once."""
    import signal

    import anyio

    from vipring.serve import serve

    async with anyio.create_task_group() as tasks:

        async def obey() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for number in signals:
                    if stopping:
                        tasks.cancel_scope.cancel()
                        return
                    stopping.append(number)
                    stop()

        stopping: list[int] = []
        tasks.start_soon(obey)
        tasks.start_soon(serve, pages, listener)
        await run()
        tasks.cancel_scope.cancel()
