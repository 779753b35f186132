"""Who a container's main process started, from /proc."""

import os
import subprocess
import sys

from chaos.lab import container


def test_children_are_found_by_their_parent() -> None:
    before = set(container.children(os.getpid()))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert set(container.children(os.getpid())) - before == {child.pid}
        assert container.children(child.pid) == []
        child.communicate(b"\n")
    assert child.pid not in container.children(os.getpid())
