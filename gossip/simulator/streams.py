"""TCP between hosts: connections, bytes and ends, as slow and as cut as datagrams, but never lossy."""

from functools import partial
from typing import TYPE_CHECKING

from gossip.address import Endpoint
from gossip.outputs import OpenStream
from gossip.simulator.host import FarEnd, Host

if TYPE_CHECKING:
    from gossip.simulator.simulation import Simulation


class Streams:
    """The streams of all hosts."""

    def __init__(self, simulation: "Simulation") -> None:
        self._simulation = simulation

    def open(self, host: Host, output: OpenStream) -> None:
        """Dial; a host that is off or cut off never answers."""
        simulation = self._simulation
        target = simulation.host_at(output.to)
        if target is None:
            return
        life, number = host.life, output.stream

        def connected() -> None:
            if target.node is None or host.life != life or not host.link.carries_streams_to(target.link):
                return
            source = Endpoint(host.endpoint.host, 40_000 + number % 20_000)
            accepted = target.node.accept_stream(source=source, now=target.clock(simulation.now))
            if accepted is not None:
                host.far_ends[number] = FarEnd(target, accepted)
                target.far_ends[accepted] = FarEnd(host, number)
                self.write(host, number, output.data, close=False)
            simulation.settle(target)

        # The handshake takes a way and back before data can follow.
        simulation.at(simulation.delay() + simulation.delay(), partial(simulation.arrive, target, connected))

    def write(self, host: Host, number: int, data: bytes, *, close: bool) -> None:
        """Send bytes, and an end behind them with `close`."""
        simulation = self._simulation
        far = host.far_ends.get(number)
        if far is None:
            return
        target = far.host

        def arrived() -> None:
            if not self._reaches(host, far):
                return
            assert target.node is not None
            simulation.charge(target)
            target.node.receive_stream(far.number, data, now=target.clock(simulation.now))
            simulation.settle(target)

        far.arrives = max(far.arrives, simulation.now + simulation.delay())
        simulation.schedule(far.arrives, partial(simulation.arrive, target, arrived))
        if close:
            self.close(host, number)

    def close(self, host: Host, number: int) -> None:
        """Send an end."""
        simulation = self._simulation
        far = host.far_ends.pop(number, None)
        if far is None:
            return
        target = far.host

        def closed() -> None:
            if target.life != far.life:
                return
            target.far_ends.pop(far.number, None)
            if self._reaches(host, far):
                assert target.node is not None
                target.node.stream_ended(far.number, error=None, now=target.clock(simulation.now))
                simulation.settle(target)

        at = max(far.arrives, simulation.now + simulation.delay())
        simulation.schedule(at, partial(simulation.arrive, target, closed))

    def _reaches(self, host: Host, far: FarEnd) -> bool:
        target = far.host
        return (
            target.node is not None and target.life == far.life and host.link.carries_streams_to(target.link)
        )
