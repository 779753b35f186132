"""A responder that stands still is noticed, one that is merely behind is not."""

import socket

from speaker.attention import HEEDLESS_LOOKS, Attention, unread


def test_what_waits_in_a_socket() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert unread(ours.fileno()) == 0
        ours.send(b"one")
        once = unread(ours.fileno())
        ours.send(b"two")
        assert unread(ours.fileno()) > once > 0
        theirs.recv(10)
        assert unread(ours.fileno()) == once
        theirs.recv(10)
        assert unread(ours.fileno()) == 0
    assert unread(-1) == 0
    assert unread(ours.fileno()) == 0


def looks(*seen: tuple[int, int]) -> list[bool]:
    """Bytes that wait before and after each message."""
    attention, found = Attention(), []
    for before, after in seen:
        found.append(attention.look(before))
        attention.told(after)
    return found


def test_nothing_read_for_some_looks_is_standing_still() -> None:
    assert HEEDLESS_LOOKS == 4
    seen = [(0, 10), (10, 20), (20, 30), (35, 45), (45, 55)]
    assert looks(*seen) == [False, False, False, False, True]
    assert looks(*seen, (0, 10)) == [False, False, False, False, True, False]


def test_who_reads_late_or_slowly_is_not() -> None:
    assert not any(looks(*[(0, 10)] * 20))
    assert not any(looks(*[(10, 20)] * 20)), "the message before is read by the next look"
    assert not any(looks((0, 10), (10, 20), (20, 30), (30, 40), (10, 20), (20, 30), (30, 40)))


def test_who_has_something_to_say_is_busy_and_does_not_stand_still() -> None:
    attention = Attention()
    for step in range(20):
        assert not attention.look(10 * step)
        attention.told(10 * step + 10)
        if step % 3 == 0:
            attention.heard()
