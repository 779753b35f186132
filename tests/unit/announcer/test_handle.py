"""The speaker's end against a responder played by the test at the other end of the socket pair."""

import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from announcer.errors import ResponderError
from announcer.layer2 import encoding
from announcer.layer2.claims import ANYONE
from announcer.layer2.encoding import MAX_MESSAGE
from announcer.layer2.handle import Responder
from announcer.layer2.launch import require_raw_sockets
from announcer.layer2.messages import (
    Add,
    Announced,
    Command,
    Exited,
    HandOver,
    Introduce,
    LeaseExpired,
    Members,
    Pace,
    Remove,
    Renew,
    ResponderEvent,
)
from announcer.layer2.signed import claim_key, name_hash
from announcer.layer2.turns import LAST_TURN

VIP = IPv4Address("198.18.1.0")


class Other:
    """The responder's end."""

    def __init__(self, link: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.link = link
        self.process = process
        link.setblocking(False)

    def commands(self) -> list[Command]:
        received = []
        while True:
            try:
                received.append(encoding.decode_command(self.link.recv(MAX_MESSAGE)))
            except BlockingIOError:
                return received

    def changes(self) -> list[tuple[type[Command], int, set[IPv4Address]]]:
        return [
            (type(command), command.epoch, {IPv4Address(packed) for packed in command.addresses})
            for command in self.commands()
            if isinstance(command, Add | Remove)
        ]

    def tell(self, *events: ResponderEvent) -> None:
        for message in encoding.encode_events(events):
            self.link.send(message)


@pytest.fixture
def ends() -> Iterator[tuple[Responder, Other]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with subprocess.Popen(["sleep", "60"]) as process:
        responder = Responder(link=ours, pid=process.pid)
        try:
            yield responder, Other(theirs, process)
        finally:
            theirs.close()
            process.kill()
            responder.close()


def test_only_differences_are_sent(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    responder.announce([VIP, VIP + 1])
    assert other.changes() == [(Add, 0, {VIP, VIP + 1})]
    responder.announce([VIP + 1, VIP])
    assert other.changes() == []
    responder.announce([VIP + 1, VIP + 2])
    assert other.changes() == [(Remove, 0, {VIP}), (Add, 0, {VIP + 2})]
    responder.announce([])
    assert other.changes() == [(Remove, 0, {VIP + 1, VIP + 2})]


def test_a_change_is_told_once_and_the_last_word_counts(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    responder.introduce("n1", [b"k" * 32])
    responder.set_members(["n2"], alive=True)
    responder.own([VIP], known=True)
    responder.own([VIP], known=True)
    introduced, members, added = other.commands()
    assert isinstance(introduced, Introduce)
    assert (introduced.name, introduced.keys) == ("n1", (claim_key(b"k" * 32),))
    assert isinstance(members, Members)
    assert (members.alive, members.names) == (True, (name_hash("n2"),))
    assert isinstance(added, Add)
    assert added.known
    responder.hand_over([VIP], "n2")
    responder.hand_over([VIP], "n3")
    responder.hand_over([VIP], None)
    assert [command.to for command in other.commands() if isinstance(command, HandOver)] == [
        name_hash("n2"),
        name_hash("n3"),
        ANYONE,
    ]
    responder.drop([VIP])
    responder.drop([VIP])
    assert other.changes() == [(Remove, 0, {VIP})] * 2, "nothing is kept of an address that was dropped"
    assert (responder.name_of(name_hash("n2")), responder.name_of(b""), responder.name_of(b"abcd")) == (
        "n2",
        "",
        "61626364",
    )


def test_the_pace_is_told_before_any_address(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    responder.pace(500)
    responder.own([VIP])
    paced, added = other.commands()
    assert isinstance(paced, Pace)
    assert paced.frames_per_s == 500
    assert isinstance(added, Add)


def test_address_of_another_family_is_refused(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    with pytest.raises(ResponderError, match=r"^2001:2::1: ARP announces IPv4 addresses only$"):
        responder.announce([VIP, IPv6Address("2001:2::1")])  # type: ignore[list-item]
    assert other.commands() == []


def test_renewal(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    responder.renew()
    responder.renew()
    first, second = other.commands()
    assert isinstance(first, Renew)
    assert isinstance(second, Renew)
    assert first.at <= second.at


def test_table_of_an_ended_lease_is_sent_again_only_when_the_caller_knows(
    ends: tuple[Responder, Other],
) -> None:
    responder, other = ends
    responder.announce([VIP])
    other.commands()
    other.tell(LeaseExpired(1.0, 1))
    responder.announce([VIP, VIP + 1])
    assert other.changes() == [(Add, 0, {VIP + 1})], "still the epoch that ended: the responder ignores it"
    assert responder.events() == [LeaseExpired(1.0, 1)]
    responder.renew()
    (renewal,) = other.commands()
    assert renewal.epoch == 1
    responder.announce([VIP])
    assert other.changes() == [(Add, 1, {VIP})]


def test_never_blocks_and_catches_up(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    for _ in range(5_000):
        responder.renew()
    wanted = {VIP + offset for offset in range(10_000)}
    responder.announce(wanted)
    responder.announce(wanted)
    told: set[IPv4Address] = set()
    for _ in range(1_000):
        for kind, _, addresses in other.changes():
            assert kind is Add
            assert not told & addresses, "each address once"
            told |= addresses
        if told == wanted:
            break
        responder.renew()
    assert told == wanted


def test_events_in_order_and_without_blocking(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    assert responder.events() == []
    told: list[ResponderEvent] = [Announced(VIP, "eth0", 1.0), LeaseExpired(2.0, 1)]
    other.tell(*told)
    assert responder.events() == told
    assert responder.events() == []


def test_end_of_the_process_is_told_once(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    other.tell(Exited("the responder process failed: OSError: no"))
    other.link.close()
    other.process.kill()
    assert responder.events() == [Exited("the responder process failed: OSError: no")]
    assert responder.events() == []
    assert responder.fileno() == -1
    responder.announce([VIP])
    responder.renew()
    responder.close()


def test_silent_end_is_told_with_its_cause() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen(["sh", "-c", "exit 3"]) as process:
        theirs.close()
        assert Responder(link=ours, pid=process.pid).events() == [
            Exited("the responder process ended with status 3")
        ]


def test_nonsense_is_told(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    other.link.send(b"\xff\xff")
    other.process.kill()
    (event,) = responder.events()
    assert isinstance(event, Exited)
    assert event.detail.startswith("the responder process sent what cannot be read: event of kind 255")


def test_missing_capability_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(ResponderError, match=r"the speaker needs the capability CAP_NET_RAW$"):
        require_raw_sockets()


def test_what_goes_first_is_told_first_and_another_turn_alone(ends: tuple[Responder, Other]) -> None:
    responder, other = ends
    responder.own([VIP], turn=4)
    responder.own([VIP], turn=4)
    responder.own([VIP + 1], known=True, turn=-4)
    responder.own([VIP], turn=LAST_TURN)
    told = other.commands()
    assert [
        (command.addresses, command.known, command.turn) for command in told if isinstance(command, Add)
    ] == [
        ((VIP.packed,), False, 4),
        (((VIP + 1).packed,), True, -4),
        ((VIP.packed,), False, LAST_TURN),
    ]
