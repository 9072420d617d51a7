"""What a network stack has on a link, kept so that it can be put on another one."""

from dataclasses import dataclass, replace

from netaddr import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAddress:
    """An address on a link."""

    address: IPNetwork
    permanent: bool
    """It has no lifetime; those that DHCP and routers give mostly have."""
    message: str
    """All of it, as the kernel describes it, in hexadecimal digits; empty: nothing but that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRoute:
    """A route through a link, but for those that come and go with an address."""

    text: str
    """For people, and to tell routes apart: destination, gateway, table and metric."""
    gateway: IPAddress | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Addresses and routes of a link, of the host's or of a container's."""

    addresses: tuple[HeldAddress, ...] = ()
    routes: tuple[HeldRoute, ...] = ()
    more_addresses: int = 0
    """So many were there beyond those, of which as many were read as are kept."""
    more_routes: int = 0

    def __bool__(self) -> bool:
        return bool(self.addresses or self.routes)

    def with_newer(self, other: "Held") -> "Held":
        """Return both; where both have the same thing, as ``other`` describes it."""
        addresses = {str(each.address): each for each in (*self.addresses, *other.addresses)}
        routes = {each.text: each for each in (*self.routes, *other.routes)}
        return Held(addresses=tuple(addresses.values()), routes=tuple(routes.values()))

    def lasting(self) -> "Held":
        """Return it without the addresses that DHCP or a router gave for a time."""
        return replace(self, addresses=tuple(each for each in self.addresses if each.permanent))

    def lacks(self, there: "Held") -> tuple[str, ...]:
        """Return the addresses that ``there`` does not have."""
        present = {str(each.address) for each in there.addresses}
        return tuple(
            str(each.address) for each in self.addresses if str(each.address) not in present
        )

    @property
    def gateways(self) -> tuple[IPAddress, ...]:
        """The routers that default routes lead to."""
        found = [each.gateway for each in self.routes if each.text.startswith("default ")]
        return tuple(dict.fromkeys(each for each in found if each is not None))
