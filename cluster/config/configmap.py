"""The v0.9 ConfigMap: strict decoding, then validation, to one Config.

Errors are one line: the path of the field, MetalLB's wording where it has one (metallb v0.9.3
internal/config/config.go), and what is allowed. One key is ours: the `priority` of a pool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Final

import msgspec

from cluster.config.document import Scalar, load_document
from cluster.config.model import (
    BgpAdvertisement,
    Config,
    LabelRequirement,
    Network,
    NodeSelector,
    Peer,
    Pool,
    PoolProtocol,
)
from cluster.config.prefixes import Prefix, find_overlap, parse_address, parse_prefixes
from cluster.errors import ConfigError
from cluster.objects import ConfigMap
from cluster.wire import one_line

DATA_KEY: Final = "config"
# A range of 2**128 addresses is at most 254 CIDRs; the cap keeps a hostile list of such ranges small.
MAX_PREFIXES: Final = 10_000


class _Text(str):
    """Any scalar, as written."""

    __slots__ = ()


class _Number(int):
    """An unquoted decimal integer."""


class _Flag(int):
    """An unquoted YAML 1.1 truth value."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    pass


class _Expression(_Strict, frozen=True):
    key: _Text | None = None
    operator: _Text | None = None
    values: list[_Text] | None = None


class _Selector(_Strict, frozen=True):
    match_labels: dict[str, _Text] | None = None
    match_expressions: list[_Expression] | None = None


class _Peer(_Strict, frozen=True):
    my_asn: _Number | None = None
    peer_asn: _Number | None = None
    peer_address: _Text | None = None
    peer_port: _Number | None = None
    hold_time: _Text | None = None
    router_id: _Text | None = None
    node_selectors: list[_Selector] | None = None
    password: _Text | None = None


class _Advertisement(_Strict, frozen=True):
    aggregation_length: _Number | None = None
    localpref: _Number | None = None
    communities: list[_Text] | None = None


class _Pool(_Strict, frozen=True):
    name: _Text | None = None
    protocol: _Text | None = None
    addresses: list[_Text] | None = None
    avoid_buggy_ips: _Flag | None = None
    auto_assign: _Flag | None = None
    bgp_advertisements: list[_Advertisement] | None = None
    priority: _Number | None = None


class _File(_Strict, frozen=True):
    peers: list[_Peer] | None = None
    bgp_communities: dict[str, _Text] | None = None
    address_pools: list[_Pool] | None = None


_STRUCT_AT = {
    "": _File,
    "peers[]": _Peer,
    "peers[].node-selectors[]": _Selector,
    "peers[].node-selectors[].match-expressions[]": _Expression,
    "address-pools[]": _Pool,
    "address-pools[].bgp-advertisements[]": _Advertisement,
}


def config_of(config_map: ConfigMap) -> Config:
    """The configuration in a ConfigMap's `config` key; absent or empty is the empty configuration.

    Raises ConfigError.
    """
    return parse_config((config_map.data or {}).get(DATA_KEY, ""))


def parse_config(text: str) -> Config:
    """The configuration that a v0.9 document describes. Raises ConfigError, and nothing else, for any text."""
    try:
        file = _decode(text)
    except ConfigError as error:
        raise ConfigError(f"could not parse config: {error}") from None
    peers = tuple(_peer(peer, index) for index, peer in enumerate(file.peers or ()))
    communities: dict[str, int] = {}
    for name, value in (file.bgp_communities or {}).items():
        shown = one_line(name)
        try:
            communities[name] = _community(value)
        except ConfigError as error:
            raise ConfigError(f'bgp-communities.{shown}: parsing community "{shown}": {error}') from None
    prefixes: list[Prefix] = []
    pools: list[Pool] = []
    names: set[str] = set()
    for index, raw in enumerate(file.address_pools or ()):
        path = f"address-pools[{index}]"
        try:
            pool = _pool(raw, path, communities, prefixes)
        except ConfigError as error:
            raise ConfigError(f"parsing address pool #{index + 1}: {error}") from None
        if pool.name in names:
            raise ConfigError(
                f"{path}.name: duplicate definition of pool {_quoted(pool.name)}: must be unique"
            )
        names.add(pool.name)
        pools.append(pool)
    if (overlap := find_overlap(prefixes)) is not None:
        first, second = overlap
        raise ConfigError(
            f'{second.path}: CIDR "{second.network}" in pool {_quoted(second.pool)} overlaps with already '
            f'defined CIDR "{first.network}" ({first.path}): pools must not share addresses'
        )
    return Config(tuple(pools), peers, MappingProxyType(communities))


def _decode(text: str) -> _File:
    tree = load_document(text)
    if tree is None:
        return _File()
    try:
        return msgspec.convert(tree, _File, dec_hook=_scalar)
    except msgspec.ValidationError as error:
        raise ConfigError(_explained(str(error))) from None


_UNQUOTED_INT = re.compile(r"[-+]?[0-9]{1,20}", re.ASCII)
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})


def _scalar(kind: type, value: object) -> object:
    """msgspec's hook for the three kinds of scalar; a ValueError becomes a ValidationError with the path."""
    if not isinstance(value, Scalar):
        what = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "empty"
        raise ValueError(f"must be a single value, is {what}")  # noqa: TRY004 - msgspec adds the path to this one
    if kind is _Text:
        return _Text(value.text)
    if kind is _Number:
        if not value.plain or not _UNQUOTED_INT.fullmatch(value.text):
            raise ValueError(f"must be a whole number without quotes, is {_quoted(value.text)}")
        return _Number(value.text)
    assert kind is _Flag
    if not value.plain or value.text not in _TRUE | _FALSE:
        raise ValueError(f"must be true or false, is {_quoted(value.text)}")
    return _Flag(value.text in _TRUE)


_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(\w+)[^`]*`, got `(\w+)[^`]*`")
_WORDS = {
    "array": "a list", "object": "a mapping", "Scalar": "a single value", "null": "empty", "dict": "a mapping"
}  # fmt: skip


def _explained(error: str) -> str:
    """A msgspec message in the terms of the file: path first, then what is allowed."""
    problem, _, path = error.partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    if found := _UNKNOWN.fullmatch(problem):
        allowed = ", ".join(_STRUCT_AT[re.sub(r"\[\d+\]", "[]", path)].__struct_encode_fields__)
        field = one_line(found[1])
        return f"{path}.{field}".lstrip(".") + f": unknown field, allowed are {allowed}"
    if found := _EXPECTED.fullmatch(problem):
        problem = f"must be {_WORDS.get(found[1], found[1])}, is {_WORDS.get(found[2], found[2])}"
    return one_line(f"{path or 'the document'}: {problem}")


def _peer(raw: _Peer, index: int) -> Peer:
    path = f"peers[{index}]"
    try:
        return _checked_peer(raw, path)
    except ConfigError as error:
        raise ConfigError(f"parsing peer #{index + 1}: {error}") from None


def _checked_peer(raw: _Peer, path: str) -> Peer:
    my_asn = _number(raw.my_asn, f"{path}.my-asn", 0, 2**32 - 1) or 0
    peer_asn = _number(raw.peer_asn, f"{path}.peer-asn", 0, 2**32 - 1) or 0
    if my_asn == 0:
        raise ConfigError(f"{path}.my-asn: missing local ASN: must be 1 to 4294967295")
    if peer_asn == 0:
        raise ConfigError(f"{path}.peer-asn: missing peer ASN: must be 1 to 4294967295")
    address = parse_address(raw.peer_address or "")
    if address is None:
        raise ConfigError(
            f"{path}.peer-address: invalid peer IP {_quoted(raw.peer_address or '')}: must be an IPv4 or IPv6 address"
        )
    router_id = parse_address(raw.router_id or "")
    if raw.router_id and not isinstance(router_id, IPv4Address):
        raise ConfigError(
            f"{path}.router-id: invalid router ID {_quoted(raw.router_id)}: must be an IPv4 address"
        )
    selectors = tuple(
        _selector(selector, f"{path}.node-selectors[{number}]")
        for number, selector in enumerate(raw.node_selectors or ())
    )
    return Peer(
        my_asn=my_asn,
        peer_asn=peer_asn,
        peer_address=address,
        peer_port=_number(raw.peer_port, f"{path}.peer-port", 0, 65535) or 179,
        hold_time_s=_hold_time(raw.hold_time, f"{path}.hold-time") if raw.hold_time else 90,
        router_id=router_id if isinstance(router_id, IPv4Address) else None,
        node_selectors=selectors or (NodeSelector(),),
        password=str(raw.password or ""),
    )


_UNITS_S = {
    "ns": Decimal("1e-9"), "us": Decimal("1e-6"), "µs": Decimal("1e-6"), "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600),
}  # fmt: skip
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(f"\\+?(?:0|(?:{_DURATION_PART.pattern})+)", re.ASCII)


def _hold_time(text: str, path: str) -> int:
    """Whole seconds of a Go duration (`90s`, `1m30s`), fractions cut off."""
    seconds = -1
    if len(text) <= 64 and _DURATION.fullmatch(text):
        seconds = int(sum(Decimal(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(text)))
    if seconds != 0 and not 3 <= seconds <= 65535:
        raise ConfigError(
            f"{path}: invalid hold time {_quoted(text)}: must be a duration such as 90s or 1m30s, 0 or 3 to 65535 seconds"
        )
    return seconds


_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_PREFIX = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII)


def _label_key(key: str, path: str) -> str:
    prefix, slash, name = key.rpartition("/")
    named = _LABEL_NAME.fullmatch(name) is not None
    if not named or (slash and (len(prefix) > 253 or not _LABEL_PREFIX.fullmatch(prefix))):
        raise ConfigError(f"{path}: parsing node selector: {_quoted(key)} must be a label name")
    return key


def _label_value(value: str, path: str) -> str:
    if value and not _LABEL_NAME.fullmatch(value):
        raise ConfigError(f"{path}: parsing node selector: {_quoted(value)} must be a label value")
    return str(value)


def _selector(raw: _Selector, path: str) -> NodeSelector:
    labels = [
        (_label_key(key, f"{path}.match-labels"), _label_value(value, f"{path}.match-labels"))
        for key, value in (raw.match_labels or {}).items()
    ]
    expressions = [
        _requirement(expression, f"{path}.match-expressions[{number}]")
        for number, expression in enumerate(raw.match_expressions or ())
    ]
    return NodeSelector(tuple(sorted(labels)), tuple(expressions))


def _requirement(raw: _Expression, path: str) -> LabelRequirement:
    if not raw.key:
        raise ConfigError(f"{path}.key: parsing node selector: missing, must be a label name")
    key = _label_key(str(raw.key), f"{path}.key")
    values = frozenset(_label_value(value, f"{path}.values") for value in raw.values or ())
    match str(raw.operator or ""):
        case ("In" | "NotIn") as operator:
            if not values:
                raise ConfigError(
                    f"{path}.values: parsing node selector: operator {operator} needs at least one value"
                )
            return LabelRequirement(key, operator, values)
        case ("Exists" | "DoesNotExist") as operator:
            if values:
                raise ConfigError(
                    f"{path}.values: parsing node selector: operator {operator} takes no values"
                )
            return LabelRequirement(key, operator)
        case other:
            raise ConfigError(
                f"{path}.operator: parsing node selector: {_quoted(other)} must be In, NotIn, Exists or DoesNotExist"
            )


def _community(text: str) -> int:
    """`asn:value` as 32 bits (RFC 1997). Raises ConfigError."""
    halves = text.split(":")
    if len(halves) != 2:
        raise ConfigError(
            f"invalid community string {_quoted(text)}: must be two numbers such as 65535:65281"
        )
    numbers: list[int] = []
    for half, which in zip(halves, ("first", "second"), strict=True):
        if not re.fullmatch(r"[0-9]{1,5}", half, re.ASCII) or int(half) > 65535:
            raise ConfigError(
                f"invalid {which} section {_quoted(half)} of community {_quoted(text)}: must be 0 to 65535"
            )
        numbers.append(int(half))
    return numbers[0] << 16 | numbers[1]


def _pool(raw: _Pool, path: str, communities: dict[str, int], prefixes: list[Prefix]) -> Pool:
    """One pool; its networks are also added to `prefixes`."""
    if not raw.name:
        raise ConfigError(f"{path}.name: missing pool name: must be a non-empty text")
    name = str(raw.name)
    networks: list[Network] = []
    for number, text in enumerate(raw.addresses or ()):
        entry = f"{path}.addresses[{number}]"
        try:
            found = parse_prefixes(text)
        except ValueError as error:
            raise ConfigError(
                f"{entry}: invalid CIDR {_quoted(text)} in pool {_quoted(name)}: {error}"
            ) from None
        networks.extend(found)
        prefixes.extend(Prefix(network, name, entry) for network in found)
        if len(prefixes) > MAX_PREFIXES:
            raise ConfigError(
                f"{entry}: too many addresses: all pools together must make at most {MAX_PREFIXES} CIDRs"
            )
    if not networks:
        raise ConfigError(
            f"{path}.addresses: pool has no prefixes defined: must list at least one CIDR or range"
        )
    protocol = _protocol(raw.protocol, f"{path}.protocol")
    if raw.bgp_advertisements and protocol == "layer2":
        raise ConfigError(
            f"{path}.bgp-advertisements: cannot have bgp-advertisements configuration element in a layer2 "
            "address pool: must be left out, or protocol must be bgp"
        )
    advertisements = tuple(
        _advertisement(advertisement, f"{path}.bgp-advertisements[{number}]", networks, communities)
        for number, advertisement in enumerate(raw.bgp_advertisements or ())
    )
    if protocol == "bgp" and not advertisements:
        advertisements = (BgpAdvertisement(),)
    return Pool(
        name=name,
        protocol=protocol,
        networks=tuple(networks),
        auto_assign=raw.auto_assign is None or bool(raw.auto_assign),
        avoid_buggy_ips=bool(raw.avoid_buggy_ips),
        bgp_advertisements=advertisements,
        priority=_number(raw.priority, f"{path}.priority", -(2**31), 2**31 - 1) or 0,
    )


def _protocol(text: str | None, path: str) -> PoolProtocol:
    match str(text or ""):
        case ("layer2" | "bgp") as protocol:
            return protocol
        case "":
            raise ConfigError(f"{path}: address pool is missing the protocol field: must be layer2 or bgp")
        case other:
            raise ConfigError(f"{path}: unknown protocol {_quoted(other)}: must be layer2 or bgp")


def _advertisement(
    raw: _Advertisement, path: str, networks: Sequence[Network], aliases: dict[str, int]
) -> BgpAdvertisement:
    length = 32 if raw.aggregation_length is None else int(raw.aggregation_length)
    if not 0 <= length <= 32:
        raise ConfigError(f"{path}.aggregation-length: invalid aggregation length {length}: must be 0 to 32")
    for network in networks:
        if network.prefixlen > length:
            raise ConfigError(
                f"{path}.aggregation-length: invalid aggregation length {length}: prefix {network} in this pool "
                "is more specific than the aggregation length: must be at least the length of every prefix"
            )
    values: set[int] = set()
    for number, text in enumerate(raw.communities or ()):
        try:
            values.add(aliases[text] if text in aliases else _community(text))
        except ConfigError as error:
            raise ConfigError(
                f"{path}.communities[{number}]: invalid community {_quoted(text)} in BGP advertisement: {error}, "
                "or a name in bgp-communities"
            ) from None
    return BgpAdvertisement(
        aggregation_length=length,
        localpref=_number(raw.localpref, f"{path}.localpref", 0, 2**32 - 1) or 0,
        communities=frozenset(values),
    )


def _number(value: int | None, path: str, low: int, high: int) -> int | None:
    if value is not None and not low <= value <= high:
        raise ConfigError(f"could not parse config: {path}: must be {low} to {high}, is {int(value)}")
    return None if value is None else int(value)


def _quoted(text: str) -> str:
    return f'"{one_line(text)}"'
