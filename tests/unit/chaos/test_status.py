"""A speaker's /status as chaos reads it."""

import json

import pytest

from chaos import status
from chaos.errors import ChaosError

DOCUMENT = {
    "node": "n1",
    "version": "0.1.0",
    "ready": True,
    "ring": {
        "encrypted": True,
        "members": [
            {
                "name": "n2",
                "address": "198.18.0.12",
                "port": 7946,
                "state": "suspect",
                "incarnation": 3,
                "version": "0.1.0",
                "self": False,
            },
            {
                "name": "n1",
                "address": "198.18.0.11",
                "port": 7946,
                "state": "alive",
                "incarnation": 1,
                "version": "0.1.0",
                "self": True,
            },
            {
                "name": "n3",
                "address": "198.18.0.13",
                "port": 7946,
                "state": "dead",
                "incarnation": 12,
                "version": "",
            },
        ],
    },
    "vips": [
        {
            "address": "198.18.1.0",
            "services": ["default/nginx"],
            "owner": "n2",
            "announcing": False,
            "ranking": ["n2", "n1"],
        }
    ],
    "something": "more",
}


def test_members_and_owners() -> None:
    found = status.decode(json.dumps(DOCUMENT).encode())
    assert found.alive == ("n1", "n2"), "a suspected member still counts"
    assert found.owner("198.18.1.0") == "n2"
    assert found.owner("198.18.1.9") is None
    assert found.ring.members[1].self_


def test_table() -> None:
    lines = status.member_table(status.decode(json.dumps(DOCUMENT).encode()))
    assert [line.split() for line in lines] == [
        ["MEMBER", "STATE", "ADDRESS", "INCARNATION", "VERSION"],
        ["n1", "alive", "198.18.0.11:7946", "1", "0.1.0"],
        ["n2", "suspect", "198.18.0.12:7946", "3", "0.1.0"],
        ["n3", "dead", "198.18.0.13:7946", "12", "-"],
    ]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"node": 3}', b"Internal Server Error"])
def test_anything_else_is_an_error_of_one_line(data: bytes) -> None:
    with pytest.raises(ChaosError) as caught:
        status.decode(data)
    assert "/status does not decode" in str(caught.value)
    assert "\n" not in str(caught.value)
