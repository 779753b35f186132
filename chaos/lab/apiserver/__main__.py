"""Run the API server alone: `python -m chaos.lab.apiserver --port 0 --kubeconfig FILE`."""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path

import anyio

from chaos.lab.apiserver.logs import FileLogs
from chaos.lab.apiserver.podio import LogRequest, PodIo
from chaos.lab.apiserver.server import ApiServer, listening_socket


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _log_file(directory: Path, asked: LogRequest) -> Path | None:
    meta = asked.pod["metadata"]
    which = ".previous" if asked.previous else ""
    return directory / f"{meta['namespace']}_{meta['name']}_{asked.container}{which}.log"


def _may_grow(asked: LogRequest) -> bool:
    return (asked.pod.get("status") or {}).get("phase") == "Running"


async def _serve(host: str, port: int, kubeconfig: Path, bookmark_s: float, logs: Path | None) -> None:
    pods = PodIo(FileLogs(partial(_log_file, logs), _may_grow)) if logs is not None else PodIo()
    async with ApiServer([listening_socket(host, port)], pods=pods, bookmark_s=bookmark_s) as server:
        _write_secret(kubeconfig, server.kubeconfig())
        print(f"ready {server.base_url} KUBECONFIG={kubeconfig}", flush=True)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break


def main() -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m chaos.lab.apiserver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="file to write the kubeconfig to")
    parser.add_argument("--bookmark-s", type=float, default=10.0, help="seconds between bookmarks")
    parser.add_argument("--logs", type=Path, help="directory with NAMESPACE_POD_CONTAINER.log files to serve")
    given = parser.parse_args()
    anyio.run(_serve, given.host, given.port, given.kubeconfig, given.bookmark_s, given.logs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
