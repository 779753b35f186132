"""When a cluster is at rest, and why not."""

import pytest

from chaos import run
from chaos.status import Member, Ring, SpeakerStatus, Vip

VIP = "198.18.1.0"


def view(
    node: str, *, alive: tuple[str, ...] = ("n1", "n2"), owner: str | None = "n1", ready: bool = True
) -> SpeakerStatus:
    members = (*(Member(name, state="alive") for name in alive), Member("n9", state="dead"))
    return SpeakerStatus(node, ready=ready, ring=Ring(members=members), vips=(Vip(VIP, owner=owner),))


def reason(settled: dict[str, str], *views: SpeakerStatus) -> str:
    return run.unrest(settled, {one.node: one for one in views}, [VIP], ["n2", "n1"])


def test_at_rest() -> None:
    assert reason({VIP: "n1"}, view("n1"), view("n2")) == ""


@pytest.mark.parametrize(
    ("settled", "views", "why"),
    [
        ({VIP: "n1"}, [view("n1")], "the speaker on n2 is not ready"),
        ({VIP: "n1"}, [view("n1", ready=False), view("n2")], "the speaker on n1 is not ready"),
        ({VIP: "n1"}, [view("n1"), view("n2", alive=("n1", "n2", "n3"))], "n2 sees n1, n2, n3 alive"),
        ({}, [view("n1"), view("n2")], "198.18.1.0 has not had one owner for 2 s"),
        (
            {VIP: "n1"},
            [view("n1"), view("n2", owner="n2")],
            "n1 answers for 198.18.1.0, but n2 says that n2 owns it",
        ),
        (
            {VIP: "n1"},
            [view("n1"), view("n2", owner=None)],
            "n1 answers for 198.18.1.0, but n2 says that None owns it",
        ),
    ],
)
def test_not_at_rest(settled: dict[str, str], views: list[SpeakerStatus], why: str) -> None:
    assert reason(settled, *views) == why
