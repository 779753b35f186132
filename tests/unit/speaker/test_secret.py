"""The secret's file, as kubelet swaps it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from gossip.config import SwimConfig
from gossip.keyring import derive_key
from gossip.shell import Ring
from speaker.options import RingOptions
from speaker.secret import SecretKeeper


def mount(at: Path, version: str, secret: bytes) -> None:
    """Publish a secret the way kubelet does: a new directory, then one rename of the link to it."""
    data = at / f"..{version}"
    data.mkdir(parents=True)
    (data / "secretkey").write_bytes(secret)
    link = at / "..data_tmp"
    link.symlink_to(data.name)
    link.rename(at / "..data")
    name = at / "secretkey"
    if not name.is_symlink():
        name.symlink_to("..data/secretkey")


def keeper(path: Path, overlap_s: float = 60.0) -> SecretKeeper:
    options = RingOptions(
        bind_address="127.0.0.1",
        labels="a=b",
        namespace="x",
        secret=b"first",
        secret_path=str(path),
        key_overlap_s=overlap_s,
    )
    assert options.secret is not None
    return SecretKeeper(options.secret, options, look_s=0.01)


def test_a_swapped_secret_is_read_and_the_one_before_counts_for_a_while(tmp_path: Path) -> None:
    mount(tmp_path, "1", b"first")
    kept = keeper(tmp_path)
    assert kept._path == tmp_path / "secretkey"
    assert not kept._look(kept._path, 1e6)
    mount(tmp_path, "2", b"second")
    assert kept._look(kept._path, 1e6)
    first, second = derive_key(b"first"), derive_key(b"second")
    assert kept.rotation.keyring().keys == (first, second)
    assert kept._look(kept._path, 1e6 + 30)
    assert kept.rotation.keyring().keys == (second, first)
    assert kept._look(kept._path, 1e6 + 60)
    assert kept.rotation.keyring().keys == (second,)


@pytest.mark.parametrize("content", [b"", b"x" * 70_000, None])
def test_a_secret_that_cannot_be_used_changes_nothing_and_is_told_once(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secretkey"
    if content is not None:
        file.write_bytes(content)
    kept = keeper(file)
    for moment in range(5):
        assert not kept._look(file, float(moment))
    assert kept.rotation.keyring().keys == (derive_key(b"first"),)
    assert capsys.readouterr().out.count("secretUnreadable") == 1


def _keys(ring: Ring) -> tuple[bytes, ...]:
    keyring = ring._running()._codec._keyring
    assert keyring is not None
    return keyring.keys


@pytest.mark.anyio
async def test_the_ring_gets_the_key(tmp_path: Path) -> None:
    mount(tmp_path, "1", b"first")
    kept = keeper(tmp_path, overlap_s=0.2)
    made = Ring(
        name="a",
        bind=("127.0.0.1", 0),
        advertise=None,
        keyring=kept.rotation.keyring(),
        config=SwimConfig.local(),
        meta=b"",
    )
    async with made as ring, anyio.create_task_group() as tasks:
        told: list[Sequence[bytes]] = []
        tasks.start_soon(kept.run, ring, told.append)
        mount(tmp_path, "2", b"second")
        wanted = derive_key(b"second")
        with anyio.fail_after(20):
            while _keys(ring) != (wanted,):  # noqa: ASYNC110  (the ring tells nobody)
                await anyio.sleep(0.01)
        assert set(told[0]) == {derive_key(b"first")}
        assert told[-1] == (derive_key(b"second"),)
        tasks.cancel_scope.cancel()
