"""Host ports in memory."""

from collections.abc import Collection, Sequence

from netaddr import IPAddress

from ovsdriver.domain.records.model import HostPort, Transport
from ovsdriver.errors import UnsupportedError

FIRST_CHOICE = 32768


class FakeHostPorts:
    """``ovsdriver.ports.HostPorts`` of a host with few addresses and no sockets."""

    def __init__(self) -> None:
        self.addresses = {
            IPAddress(each)
            for each in ("0.0.0.0", "::", "127.0.0.1", "::1", "192.0.2.1", "2001:db8::1")
        }
        self.others: set[HostPort] = set()
        """What other programs have."""
        self.relays: dict[HostPort, tuple[IPAddress, int]] = {}
        self._held: dict[HostPort, None] = {}

    def held(self) -> Collection[HostPort]:
        return self._held.keys()

    async def hold(
        self,
        protocol: Transport,
        addresses: Sequence[IPAddress],
        ports: Sequence[int],
        *,
        count: int = 1,
    ) -> int | None:
        for address in addresses:
            if address not in self.addresses:
                raise UnsupportedError(f"{address} is no address of this host")
        for port in ports or range(FIRST_CHOICE, FIRST_CHOICE + 100):
            wanted = [
                HostPort(protocol=protocol, address=each, port=port, count=count)
                for each in addresses
            ]
            taken = (*self._held, *self.others)
            if not any(each.overlaps(other) for each in wanted for other in taken):
                self._held.update(dict.fromkeys(wanted))
                return port
        return None

    async def release(self, port: HostPort) -> bool:
        self.relays.pop(port, None)
        if port not in self._held:
            return False
        del self._held[port]
        return True

    async def relay(self, port: HostPort, address: IPAddress, target: int) -> None:
        loopback = port.everywhere or port.address == IPAddress("::1")
        if port in self._held and address.version == 6 and loopback:
            self.relays[port] = (address, target)
