"""What a speaker says of itself at `/status`, as far as chaos reads it, and the tables made of it."""

from __future__ import annotations

import msgspec

from chaos.errors import ChaosError
from chaos.report import columns


class Member(msgspec.Struct, frozen=True, rename={"self_": "self"}):
    """One member of the ring as one speaker sees it; `since` is RFC 3339."""

    name: str
    address: str = ""
    port: int = 0
    state: str = ""
    incarnation: int = 0
    version: str = ""
    since: str = ""
    self_: bool = False


class Ring(msgspec.Struct, frozen=True):
    """The ring as one speaker sees it."""

    encrypted: bool = False
    members: tuple[Member, ...] = ()


class Claim(msgspec.Struct, frozen=True):
    """Where one speaker's claim for an address stands, and which member holds it (docs/claims.md)."""

    state: str
    reason: str = ""
    holder: str = ""


class Vip(msgspec.Struct, frozen=True):
    """One address: who owns it in this speaker's view, and whether this speaker announces it."""

    address: str
    services: tuple[str, ...] = ()
    owner: str | None = None
    announcing: bool = False
    claim: Claim | None = None


class SpeakerStatus(msgspec.Struct, frozen=True):
    """The answer of `GET /status`."""

    node: str
    ready: bool = False
    version: str = ""
    ring: Ring = Ring()
    vips: tuple[Vip, ...] = ()

    @property
    def alive(self) -> tuple[str, ...]:
        """Names of the members that are alive (a suspected one still is), sorted."""
        return tuple(sorted(m.name for m in self.ring.members if m.state in {"alive", "suspect"}))

    def owner(self, address: str) -> str | None:
        """Who owns the address in this speaker's view."""
        return next((vip.owner for vip in self.vips if vip.address == address), None)

    def claim(self, address: str) -> Claim | None:
        """This speaker's claim for the address, None where it has none."""
        return next((vip.claim for vip in self.vips if vip.address == address), None)

    def owners(self) -> dict[str, str | None]:
        """Who owns each address in this speaker's view."""
        return {vip.address: vip.owner for vip in self.vips}


def decode(data: bytes) -> SpeakerStatus:
    """Read the JSON of `/status`. Raises ChaosError where it is none."""
    try:
        return msgspec.json.decode(data, type=SpeakerStatus)
    except msgspec.DecodeError as error:
        raise ChaosError(f"a speaker's /status does not decode: {error}") from None


def member_table(status: SpeakerStatus) -> list[str]:
    """The ring in one speaker's eyes, as lines of a table."""
    rows: list[tuple[str, ...]] = [("MEMBER", "STATE", "ADDRESS", "INCARNATION", "VERSION")]
    rows += [
        (
            member.name,
            member.state,
            f"{member.address}:{member.port}",
            str(member.incarnation),
            member.version or "-",
        )
        for member in sorted(status.ring.members, key=lambda member: member.name)
    ]
    return columns(rows)
