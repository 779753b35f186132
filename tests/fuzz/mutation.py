"""Bytes that are nearly right: mutations that reach behind the first check."""

import random
from collections.abc import Sequence

_EDGES = (
    0x00,
    0x01,
    0x07,
    0x08,
    0x09,
    0x0A,
    0x0C,
    0x7F,
    0x80,
    0xC0,
    0xC1,
    0xC6,
    0xD9,
    0xDB,
    0xDD,
    0xDF,
    0xF4,
    0xFF,
)
"""Type bytes of messages and of msgpack, and the ends of ranges."""

_NUMBERS = (
    b"\x00\x00",
    b"\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
)
MAX_SIZE = 4096


def mutated(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The bytes with one to six changes; some take parts of other inputs."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(broken) + 1)
        match rng.randrange(8):
            case 0 if broken:
                broken[place % len(broken)] ^= 1 << rng.randrange(8)
            case 1 if broken:
                broken[place % len(broken)] = rng.choice(_EDGES)
            case 2:
                broken[place : place + len(rng.choice(_NUMBERS))] = rng.choice(_NUMBERS)
            case 3:
                del broken[place : place + rng.randint(1, 16)]
            case 4:
                broken[place:place] = rng.randbytes(rng.randint(1, 8))
            case 5:
                broken += broken[place : place + 64]
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                broken[place:] = other[start:]
            case _:
                del broken[place:]
    return bytes(broken[:MAX_SIZE])
