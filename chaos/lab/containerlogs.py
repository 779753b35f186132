"""Where the logs of containers are: `NODE/NAMESPACE_POD_UID/CONTAINER/RUN.log` below one directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chaos.lab.apiserver.podio import LogRequest
from chaos.lab.objects import Pod


class ContainerLogs:
    """Finds the log of a run for `kubectl logs`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _runs(self, asked: LogRequest) -> list[Path]:
        pod = msgspec.convert(asked.pod, Pod)
        name = f"{pod.metadata.namespace}_{pod.metadata.name}_{pod.metadata.uid}"
        directory = self._root / pod.spec.node_name / name / asked.container
        return sorted(directory.glob("*.log"), key=lambda path: int(path.stem))

    def path_of(self, asked: LogRequest) -> Path | None:
        """The log of the last run, or of the one before it."""
        runs = self._runs(asked)
        wanted = 2 if asked.previous else 1
        return runs[-wanted] if len(runs) >= wanted else None

    def running(self, asked: LogRequest) -> bool:
        """May the log still grow? A container that was running when it was asked for is followed on."""
        pod = msgspec.convert(asked.pod, Pod)
        return any(s.name == asked.container and s.state.running for s in pod.status.container_statuses)
