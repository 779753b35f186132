"""Which interfaces carry announcements."""

from ipaddress import ip_interface

import pytest

from announcer.errors import ResponderError
from announcer.layer2.interfaces import (
    DEFAULT_EXCLUDE,
    IFF_BROADCAST,
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_NOARP,
    IFF_UP,
    InterfaceView,
    Link,
    LinkTable,
    carries_announcements,
    compile_exclude,
)

MAC = bytes.fromhex("020000000001")
GOOD = Link(2, "eth0", IFF_UP | IFF_BROADCAST | IFF_LOWER_UP, MAC, enslaved=False)
ADDRESS = ip_interface("198.18.0.11/16")


@pytest.mark.parametrize(
    ("link", "carries"),
    [
        pytest.param(GOOD, True, id="good"),
        pytest.param(GOOD._replace(flags=GOOD.flags & ~IFF_UP), False, id="down"),
        pytest.param(GOOD._replace(flags=GOOD.flags & ~IFF_LOWER_UP), False, id="no carrier"),
        pytest.param(GOOD._replace(flags=GOOD.flags & ~IFF_BROADCAST), False, id="not broadcast"),
        pytest.param(GOOD._replace(flags=GOOD.flags | IFF_NOARP), False, id="no ARP"),
        pytest.param(GOOD._replace(flags=GOOD.flags | IFF_LOOPBACK), False, id="loopback"),
        pytest.param(GOOD._replace(enslaved=True), False, id="port of a bridge"),
        pytest.param(GOOD._replace(mac=b""), False, id="no MAC"),
        pytest.param(GOOD._replace(mac=bytes(6)), False, id="zero MAC"),
        pytest.param(GOOD._replace(mac=bytes(20)), False, id="InfiniBand"),
        pytest.param(GOOD._replace(name="docker0"), False, id="excluded"),
        pytest.param(GOOD._replace(name="mydocker0"), True, id="anchored"),
    ],
)
def test_selection(link: Link, carries: bool) -> None:
    assert carries_announcements(link, compile_exclude(DEFAULT_EXCLUDE)) is carries


def test_exclude_matches_anywhere_and_may_be_empty() -> None:
    assert not carries_announcements(GOOD, compile_exclude(["wlan", "th"]))
    assert carries_announcements(GOOD, compile_exclude([]))


def test_bad_expression_is_named() -> None:
    with pytest.raises(ResponderError, match=r"^exclude\[1\]: '\(' is not a regular expression"):
        compile_exclude(["^lo$", "("])


def test_dump_sweeps_what_it_did_not_mention() -> None:
    table = LinkTable(None)
    table.set_link(GOOD)
    table.add_address(2, ADDRESS)
    table.set_link(GOOD._replace(index=3, name="eth1"))
    table.begin_dump()
    table.set_link(GOOD)
    assert [view.name for view in table.views()] == ["eth0", "eth1"], "not before the end"
    table.end_dump()
    assert table.views() == (InterfaceView(2, "eth0", MAC, ()),)


def test_notices_change_links_and_addresses() -> None:
    table = LinkTable(None)
    table.add_address(2, ip_interface("2001:2::1/64"))
    table.add_address(2, ADDRESS)
    table.set_link(GOOD)
    assert table.views() == (InterfaceView(2, "eth0", MAC, (ADDRESS, ip_interface("2001:2::1/64"))),)
    table.remove_address(2, ip_interface("2001:2::1/64"))
    table.remove_address(9, ADDRESS)
    assert table.views()[0].addresses == (ADDRESS,)
    table.remove_link(2)
    table.set_link(GOOD)
    assert table.views()[0].addresses == ()
