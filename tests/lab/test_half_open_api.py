"""A watch on a dead API server is noticed by the kernel's keep-alive, long before the watch would end by itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

TOOLS = {"unshare": "util-linux", "nft": "nftables", "ip": "iproute2"}


def test_vanished_api_server_is_noticed() -> None:
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing: apt-get install {package}")
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        sys.executable,
        "-m",
        "tests.lab.half_open_api",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["recovered"] is True
    assert re.match(r"watch http://127\.0\.0\.1:\d+/x: ReadError: ", outcome["error"]), outcome["error"]
