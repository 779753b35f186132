"""Refused peer bytes: all counted, few told."""

from collections import OrderedDict
from typing import Final

from gossip.address import Endpoint
from gossip.counters import Counters
from gossip.errors import RejectReason
from gossip.outputs import Output, PeerRejected

_PERIOD_S: Final = 1.0
"""A source is told of once in this time for each reason."""

_MAX_SOURCES: Final = 256
"""Sources remembered; addresses of datagrams are free to invent, so the table is bounded."""

_MAX_BURST: Final = 32
"""Rejections told in one period, all sources together."""

_DETAIL_MAX: Final = 200
"""Characters of a detail, which may quote the peer."""


class Rejections:
    """Turns refusals into counters and a bounded number of `PeerRejected` outputs."""

    def __init__(self, counters: Counters, outputs: list[Output]) -> None:
        self._counters = counters
        self._outputs = outputs
        self._told: OrderedDict[tuple[str, RejectReason], tuple[float, int]] = OrderedDict()
        self._period_end = 0.0
        self._burst = 0

    def __len__(self) -> int:
        return len(self._told)

    def reject(self, source: Endpoint, reason: RejectReason, detail: str, now: float) -> None:
        """Count a refusal, and tell of it unless that source and reason were told of within the last second."""
        self._counters.rejected[reason] += 1
        if now >= self._period_end:
            self._period_end = now + _PERIOD_S
            self._burst = 0
        key = (source.host, reason)
        last, suppressed = self._told.get(key, (None, 0))
        if (last is not None and now - last < _PERIOD_S) or self._burst >= _MAX_BURST:
            if last is not None:
                self._told[key] = (last, suppressed + 1)
            return
        self._burst += 1
        self._told[key] = (now, 0)
        self._told.move_to_end(key)
        if len(self._told) > _MAX_SOURCES:
            self._told.popitem(last=False)
        self._outputs.append(PeerRejected(source, reason, detail[:_DETAIL_MAX], suppressed))
