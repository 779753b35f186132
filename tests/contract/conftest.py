"""Fixtures of the contract suite: one API server, and a namespace for each test module.

Against any kube-apiserver: set VIPRING_API_URL, VIPRING_API_TOKEN and VIPRING_API_CA (a PEM file). Without them
the embedded server is started. A real one needs its controller manager (namespaces, garbage) and etcd 3.5 or later. All objects are made in namespaces of the suite's own, deleted at its end.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.client import CORE, Api
from tests.contract.server import Endpoint, embedded
from tests.seed import chosen_seed


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    url = os.environ.get("VIPRING_API_URL", "")
    if url:
        ca = os.environ.get("VIPRING_API_CA", "")
        yield Endpoint(url, os.environ.get("VIPRING_API_TOKEN", ""), Path(ca).read_text() if ca else "")
        return
    with embedded(tmp_path_factory.mktemp("apiserver"), "--bookmark-s", "1") as found:
        yield found


@pytest.fixture(scope="session")
def api(endpoint: Endpoint) -> Iterator[Api]:
    found = Api(endpoint)
    with found.http:
        yield found


@pytest.fixture(scope="session")
def seed() -> int:
    return chosen_seed()


@pytest.fixture(scope="module")
def namespace(api: Api, seed: int, request: pytest.FixtureRequest) -> Iterator[str]:
    suffix = random.Random(f"{seed}{request.node.name}").randrange(16**6)
    name = f"vipring-contract-{suffix:06x}"
    api.post(f"{CORE}/namespaces", {"metadata": {"name": name}})
    yield name
    api.delete(f"{CORE}/namespaces/{name}")


@pytest.fixture
def ns(namespace: str) -> str:
    """Path of the namespace in the core group."""
    return f"{CORE}/namespaces/{namespace}"
