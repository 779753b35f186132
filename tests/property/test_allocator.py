"""The allocator against a plain model that scans every address, after any sequence of requests."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cluster.config.model import Pool
from controller.allocator import Allocator, Terms
from controller.errors import AllocationError, ControllerError

NETWORKS = [
    IPv4Network(text) for text in ("198.18.1.252/30", "198.18.2.0/31", "198.18.0.0/32", "198.18.3.4/31")
]
SERVICES = st.sampled_from([f"d/{letter}" for letter in "abcdefgh"])
TERMS = st.builds(
    Terms,
    st.frozensets(st.sampled_from([("TCP", 80), ("TCP", 443), ("UDP", 53)]), max_size=2),
    st.sampled_from(["", "", "k1", "k2"]),
    st.sampled_from(["", "", "app=x"]),
)
ADDRESSES = st.sampled_from([address for network in NETWORKS for address in network])
POOLS = st.sampled_from(["p", "q", "none", None])


@st.composite
def pool_lists(draw: st.DrawFn) -> list[Pool]:
    """The four networks dealt to two pools in any order; some may be left out."""
    order = draw(st.permutations(NETWORKS))
    first, last = sorted((draw(st.integers(1, 3)), draw(st.integers(2, 4))))
    parts = {"p": order[:first], "q": order[first:last]}
    return [
        Pool(name, "layer2", tuple(networks), draw(st.booleans()), draw(st.booleans()))
        for name, networks in parts.items()
        if networks
    ]


class Model(RuleBasedStateMachine):
    """`held` is the model: service to (address, terms)."""

    @initialize(pools=pool_lists())
    def begin(self, pools: list[Pool]) -> None:
        self.allocator = Allocator()
        self.allocator.set_pools(pools)
        self.pools = pools
        self.held: dict[str, tuple[IPv4Address, Terms]] = {}

    def fits(self, service: str, address: IPv4Address, terms: Terms) -> bool:
        if not any(pool.allows(address) for pool in self.pools):
            return False
        others = [held for name, (at, held) in self.held.items() if at == address and name != service]
        return all(
            terms.sharing_key
            and (terms.sharing_key, terms.backend_key) == (other.sharing_key, other.backend_key)
            and not terms.ports & other.ports
            for other in others
        )

    @rule(service=SERVICES, address=ADDRESSES, terms=TERMS)
    def assign(self, service: str, address: IPv4Address, terms: Terms) -> None:
        fits = self.fits(service, address, terms)
        try:
            self.allocator.assign(service, address, terms)
        except AllocationError:
            assert not fits
        else:
            assert fits
            self.held[service] = (address, terms)

    @rule(service=SERVICES, terms=TERMS, name=POOLS)
    def allocate(self, service: str, terms: Terms, name: str | None) -> None:
        self.held.pop(service, None)
        pools = [pool for pool in self.pools if (pool.auto_assign if name is None else pool.name == name)]
        expected = next(
            (
                address
                for pool in pools
                for network in pool.networks
                for address in network
                if isinstance(address, IPv4Address)
                and pool.allows(address)
                and self.fits(service, address, terms)
            ),
            None,
        )
        try:
            found = self.allocator.allocate(service, 4, terms, name)
        except AllocationError:
            assert expected is None
        else:
            assert found == expected
            self.held[service] = (expected, terms)

    @rule(service=SERVICES)
    def release(self, service: str) -> None:
        expected = self.held.pop(service, None)
        assert self.allocator.release(service) == (expected[0] if expected else None)

    @rule(pools=pool_lists())
    def set_pools(self, pools: list[Pool]) -> None:
        fits = all(any(pool.allows(address) for pool in pools) for address, _ in self.held.values())
        try:
            self.allocator.set_pools(pools)
        except ControllerError:
            assert not fits
        else:
            assert fits
            self.pools = pools

    @invariant()
    def agrees(self) -> None:
        for service in [f"d/{letter}" for letter in "abcdefgh"]:
            expected = self.held.get(service)
            assert self.allocator.address_of(service) == (expected[0] if expected else None)
            home = next((pool.name for pool in self.pools if expected and pool.allows(expected[0])), None)
            assert self.allocator.pool_of(service) == home
        for usage in self.allocator.usage():
            inside = [at for name, (at, _) in self.held.items() if self.allocator.pool_of(name) == usage.pool]
            assert (usage.services, usage.addresses) == (len(inside), len(set(inside)))
            assert usage.addresses <= usage.capacity


TestModel = Model.TestCase
