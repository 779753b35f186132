"""Start probe and observer in the lab and read their growing records."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process

from chaos import observer as observer_script
from chaos import outage, owners
from chaos import probe as probe_script
from chaos.errors import ChaosError

Exec = Callable[[Sequence[str]], Awaitable[Process]]
"""Starts a command in a host's network namespace."""

_STOP_WITHIN_S: Final = 5.0


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
        lines = self.lines()
        if not lines:
            return False
        now = time.monotonic()
        # The file is a little behind the process.
        return outage.steady(outage.parse(lines), since=now - seconds, until=now - 2 * probe_script.FLUSH_S)


class Observer(Instrument):
    """chaos/observer.py in the observer's namespace."""

    def record(self) -> owners.ObserverRecord:
        """The record so far."""
        return owners.parse(self.lines())

    def settled(self, seconds: float) -> dict[str, str]:
        """The VIPs that one and the same MAC address alone answered for during the last `seconds`, with it."""
        lines = self.lines()
        return owners.settled(owners.parse(lines), since=time.monotonic() - seconds) if lines else {}


async def start_probe(
    run: Exec, path: Path, mode: str, address: str, port: int, *, rate: float, timeout_s: float = 0.5
) -> Probe:
    """Start asking through `address` from the client."""
    process = await run(
        [
            *(sys.executable, "-I", "-S", probe_script.__file__, mode, address, str(port)),
            *("--rate", str(rate), "--timeout", str(timeout_s), "--out", str(path)),
        ]
    )
    return Probe(f"{mode} probe", process, path)


async def start_observer(run: Exec, path: Path, vips: Sequence[str], *, interface: str = "eth0") -> Observer:
    """Start asking for the VIPs' owners from the observer."""
    asked = [argument for vip in vips for argument in ("--vip", vip)]
    process = await run(
        [sys.executable, "-I", "-S", observer_script.__file__, interface, *asked, "--out", str(path)]
    )
    return Observer("observer", process, path)
