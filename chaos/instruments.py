"""Start probe and observer in the lab and read their growing records."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process

from chaos import frames, neighbours, outage, owners
from chaos import neighbour as neighbour_script
from chaos import observer as observer_script
from chaos import probe as probe_script
from chaos import recorder as recorder_script
from chaos.errors import ChaosError

Exec = Callable[[Sequence[str]], Awaitable[Process]]
"""Starts a command in a host's network namespace."""

MARTIANS: Final = tuple(f"224.0.0.{number}" for number in range(103, 107))
"""Senders of requests that Linux does not answer, whatever addresses it has: it drops what comes from a group
(RFC 1812 5.3.7, net/ipv4/route.c). Speakers answer whoever asks."""

_STOP_WITHIN_S: Final = 5.0
_TAIL: Final = 1 << 19
"""Bytes at the end of a record that hold the last seconds of it."""


class Instrument:
    """One measuring process and the file it writes."""

    def __init__(self, name: str, process: Process, path: Path) -> None:
        self._name = name
        self._process = process
        self._path = path

    def lines(self) -> list[str]:
        """What is written so far; the last line may be half there."""
        try:
            return self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            return []

    def last_lines(self) -> list[str]:
        """The first line and the last seconds: a record of minutes is too much to read again and again."""
        try:
            with self._path.open("rb") as file:
                first = file.readline()
                begin = max(len(first), self._path.stat().st_size - _TAIL)
                file.seek(begin)
                if begin > len(first):
                    file.readline()
                return [first.decode(), *file.read().decode().splitlines(keepends=True)]
        except FileNotFoundError:
            return []

    async def stop(self) -> None:
        """End the process and wait until its record is whole. Raises ChaosError when it failed."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(_STOP_WITHIN_S):
            await self._process.wait()
        if self._process.returncode != 0:
            self.kill()
            raise ChaosError(f"the {self._name} ended with code {self._process.returncode}")

    def kill(self) -> None:
        """End the process at once, for the way out after an error."""
        if self._process.returncode is None:
            self._process.kill()


class Probe(Instrument):
    """chaos/probe.py in the client's namespace."""

    def record(self) -> outage.ProbeRecord:
        """The record so far."""
        return outage.parse(self.lines())

    def steady(self, seconds: float) -> bool:
        """True when no answer was missing for longer than noise during the last `seconds`."""
        lines = self.last_lines()
        if not any(lines):
            return False
        now = time.monotonic()
        # The file is a little behind the process.
        return outage.steady(outage.parse(lines), since=now - seconds, until=now - 2 * probe_script.FLUSH_S)


class Observer(Instrument):
    """chaos/observer.py in the observer's namespace. `among`: the MAC addresses that count, None for all."""

    def __init__(
        self, name: str, process: Process, path: Path, *, among: Collection[str] | None = None
    ) -> None:
        super().__init__(name, process, path)
        self._among = among

    def record(self) -> owners.ObserverRecord:
        """The record so far."""
        return owners.parse(self.lines(), among=self._among)

    def settled(self, seconds: float) -> dict[str, str]:
        """The VIPs that one and the same MAC address alone answered for during the last `seconds`, with it."""
        lines = self.last_lines()
        if not any(lines):
            return {}
        record = owners.parse(lines, among=self._among)
        return owners.settled(record, since=time.monotonic() - seconds)


class Recorder(Instrument):
    """chaos/recorder.py at the switch."""

    def record(self) -> frames.FrameRecord:
        """The record so far."""
        return frames.parse(self.lines())


class Neighbour(Instrument):
    """chaos/neighbour.py in the client's namespace."""

    def record(self) -> neighbours.NeighbourRecord:
        """The record so far."""
        return neighbours.parse(self.lines())


async def start_probe(
    run: Exec,
    path: Path,
    mode: str,
    address: str,
    port: int,
    *,
    rate: float,
    timeout_s: float = 0.5,
    flows: int = 1,
) -> Probe:
    """Start asking through `address` from the client."""
    process = await run(
        [
            *(sys.executable, "-I", "-S", probe_script.__file__, mode, address, str(port)),
            *("--rate", str(rate), "--timeout", str(timeout_s), "--flows", str(flows), "--out", str(path)),
        ]
    )
    return Probe(f"{mode} probe", process, path)


async def start_observer(
    run: Exec,
    path: Path,
    vips: Sequence[str],
    *,
    interface: str = "eth0",
    speakers: Collection[str] | None = None,
) -> Observer:
    """Start asking for the VIPs' owners from the observer.

    With `speakers` (MAC addresses) only they count, and no kernel answers: it is asked by senders that it takes for martians.
    """
    asked = [argument for vip in vips for argument in ("--vip", vip)]
    if speakers is not None:
        asked += [argument for sender in MARTIANS for argument in ("--sender", sender)]
    process = await run(
        [sys.executable, "-I", "-S", observer_script.__file__, interface, *asked, "--out", str(path)]
    )
    return Observer("observer", process, path, among=speakers)


async def start_recorder(run: Exec, path: Path, network: str, *, interface: str) -> Recorder:
    """Start recording the ARP frames about the addresses of `network`, at the switch."""
    process = await run(
        [
            *(sys.executable, "-I", "-S", recorder_script.__file__, interface),
            *("--network", network, "--out", str(path)),
        ]
    )
    return Recorder("recorder", process, path)


async def start_neighbour(
    run: Exec, path: Path, vip: str, *, forget_s: float | None = None, interface: str = "eth0"
) -> Neighbour:
    """Start watching the client's neighbour entry for the VIP; with `forget_s` also delete it so often."""
    forget = ["--forget", str(forget_s)] if forget_s is not None else []
    process = await run(
        [
            *(sys.executable, "-I", "-S", neighbour_script.__file__, interface, vip),
            *(*forget, "--out", str(path)),
        ]
    )
    return Neighbour("neighbour watcher", process, path)
