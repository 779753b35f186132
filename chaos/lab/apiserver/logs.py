"""A log source that reads containers' output from files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio

from chaos.lab.apiserver.errors import bad_request
from chaos.lab.apiserver.podio import LogRequest

_BLOCK = 64 * 1024
_POLL_S = 0.1


class FileLogs:
    """Serves `kubectl logs` from one file a container.

    `path_of` names the file (None: there is none, for example no previous container), `running` says whether
    it may still grow, which decides when following ends. Files hold no times, so --since and --timestamps
    change nothing.
    """

    def __init__(
        self, path_of: Callable[[LogRequest], Path | None], running: Callable[[LogRequest], bool]
    ) -> None:
        self._path_of = path_of
        self._running = running

    def __call__(self, asked: LogRequest) -> AsyncIterator[bytes]:
        """The log in pieces. Raises StatusError 400 where there is none."""
        path = self._path_of(asked)
        if path is None or not path.exists():
            name = asked.pod["metadata"]["name"]
            which = "previous terminated container" if asked.previous else "container"
            raise bad_request(f'{which} "{asked.container}" in pod "{name}" not found')
        return self._pieces(asked, path)

    async def _pieces(self, asked: LogRequest, path: Path) -> AsyncIterator[bytes]:
        left = asked.limit_bytes
        async with await anyio.open_file(path, "rb") as file:
            if asked.tail_lines is not None:
                await file.seek(await _tail_offset(file, asked.tail_lines))
            while left is None or left > 0:
                last_look = not asked.follow or not self._running(asked)
                piece = await file.read(_BLOCK if left is None else min(left, _BLOCK))
                if piece:
                    yield piece
                    left = None if left is None else left - len(piece)
                elif last_look:
                    return
                else:
                    await anyio.sleep(_POLL_S)


async def _tail_offset(file: anyio.AsyncFile[bytes], lines: int) -> int:
    """Where the last `lines` lines begin."""
    end = await file.seek(0, 2)
    if lines == 0:
        return end
    # A newline that ends the file ends its last line, it does not begin another.
    wanted, at = lines, end
    while at > 0:
        start = max(0, at - _BLOCK)
        await file.seek(start)
        block = await file.read(at - start)
        stop = len(block)
        if at == end and block.endswith(b"\n"):
            stop -= 1
        while (found := block.rfind(b"\n", 0, stop)) >= 0:
            wanted -= 1
            if wanted == 0:
                return start + found + 1
            stop = found
        at = start
    return 0
