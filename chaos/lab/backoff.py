"""Restart back-off of containers, as the kubelet does it (pkg/kubelet/kuberuntime doBackOff, client-go flowcontrol). Pure."""

from __future__ import annotations


class RestartBackoff:
    """The first restart is at once, then the pause doubles; a run of twice the longest pause forgets all. Seconds."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._pause_s = 0.0

    def next_pause(self, ran_for_s: float) -> float:
        """How long to wait before the restart that follows a run of this length."""
        if ran_for_s > 2 * self._longest_s:
            self._pause_s = 0.0
        pause = self._pause_s
        self._pause_s = min(max(2 * pause, self._first_s), self._longest_s)
        return pause
