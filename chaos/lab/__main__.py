"""`python -m chaos.lab`: a cluster in a box, left running until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from functools import partial

import anyio

from chaos.lab.errors import LabError
from chaos.lab.lab import Lab


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _serve(nodes: int) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(_hold, nodes, tasks.cancel_scope))
            async for _ in signals:
                tasks.cancel_scope.cancel()
                break


async def _hold(nodes: int, scope: anyio.CancelScope) -> None:
    async with Lab(nodes, say=_say) as lab:
        print(lab.describe())
        print(f"\nexport KUBECONFIG={lab.kubeconfig}", flush=True)
        print("stop: Ctrl-C", flush=True)
        await anyio.sleep_forever()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a lab; 1 when it could not be started."""
    parser = argparse.ArgumentParser(prog="python -m chaos.lab", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, metavar="N", help="number of nodes (default: 3)")
    given = parser.parse_args(argv)
    try:
        anyio.run(_serve, given.nodes)
    except* LabError as group:
        for error in group.exceptions:
            _say(f"lab: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
