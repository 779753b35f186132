"""Run in a network namespace of its own: a watch whose server vanishes without a word, then comes back.

Prints one JSON object: error, recovered.
"""

from __future__ import annotations

import json
import random

import anyio

from cluster.backoff import Backoff
from cluster.client import ApiClient
from cluster.credentials import Access
from cluster.objects import Service
from cluster.reflector import Reflector
from tests.unit.cluster.scripted import Answer, Request, ScriptedServer, until

DROP = """
add table inet cut
add chain inet cut in {{ type filter hook input priority 0; }}
add rule inet cut in tcp dport {port} drop
add rule inet cut in tcp sport {port} drop
"""


async def run(*command: str) -> str:
    """Run a command; its output. Raises CalledProcessError."""
    return (await anyio.run_process(command)).stdout.decode()


async def api(request: Request, answer: Answer) -> None:
    """An empty list, and watches on which nothing ever happens."""
    if "watch" in request.query:
        await answer.begin()
        await answer.stream.receive()
    else:
        await answer.json({"metadata": {"resourceVersion": "1"}, "items": []})


async def main() -> None:
    """Cut, notice, heal, notice."""
    if [(link["ifname"], link["operstate"]) for link in json.loads(await run("ip", "-j", "link"))] != [
        ("lo", "DOWN")
    ]:
        raise SystemExit("run this in a network namespace of its own: unshare -Urn")
    await run("ip", "link", "set", "lo", "up")
    rng = random.Random(1)
    async with ScriptedServer(api) as server, ApiClient(Access(server.url), dead_peer_s=2) as client:
        reflector = Reflector(client, "/x", Service, rng=rng, backoff=Backoff(rng, first_s=0.05, cap_s=0.2))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reflector.run, lambda change: None)
            await until(lambda: any("watch" in request.query for request in server.requests))
            await run("nft", DROP.format(port=server.port))
            await until(lambda: reflector.last_error is not None, 30)
            error = reflector.last_error
            await run("nft", "delete", "table", "inet", "cut")
            await until(lambda: reflector.last_error is None, 30)
            print(json.dumps({"error": error, "recovered": True}))
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
