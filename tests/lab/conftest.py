"""The lab that the tests of one file share, where the file has none of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chaos.lab.lab import Lab
from tests.lab.box import SETTINGS


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with Lab(3, settings=SETTINGS) as running:
        yield running
