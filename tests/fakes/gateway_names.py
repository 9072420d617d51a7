"""Name servers at gateways in memory. tests/contract/test_gateway_names.py holds it to the real."""

from collections.abc import Collection, Mapping, Sequence

from netaddr import IPAddress

from ovsdriver.domain.access.naming import NameRecord
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.ports import NameRules
from tests.fakes.links import FakeLinks


class FakeGatewayNameServers:
    """``ovsdriver.ports.GatewayNameServers`` that is asked by :meth:`ask`."""

    def __init__(
        self,
        outside: Mapping[str, Sequence[NameRecord]],
        *,
        links: FakeLinks | None = None,
    ) -> None:
        """``outside``: what the host's own servers say; ``links``: the host's."""
        self._links = links
        self.outside = dict(outside)
        self.asked: list[str] = []
        """What the host's own servers were asked."""
        self.devices: dict[str, int] = {}
        """With their numbers, where there are no links."""
        self.taken = False
        """Somebody else listens at the port."""
        self._running: dict[str, tuple[int | None, NameRules]] = {}

    def running(self) -> Collection[str]:
        return [name for name, (index, _) in self._running.items() if self._index(name) == index]

    async def ensure(self, gateway: str, rules: NameRules) -> None:
        if gateway in self.running():
            return
        self._running.pop(gateway, None)
        if self._index(gateway) is None:
            raise UnavailableError(f"there is no device {gateway} to answer names at")
        if self.taken:
            raise ConflictError("port 61053 of this host is taken")
        self._running[gateway] = (self._index(gateway), rules)

    async def remove(self, gateway: str) -> bool:
        return self._running.pop(gateway, None) is not None

    async def ask(self, gateway: str, client: str, name: str) -> list[str] | None:
        """Return what a client is answered: a code, and addresses; None if it is not."""
        if gateway not in self.running():
            return None
        _, rules = self._running[gateway]
        address = IPAddress(client)
        if not rules.serves(gateway, address):
            return None
        if not rules.answered(gateway, address, name):
            return ["REFUSED"]
        self.asked.append(name)
        records = self.outside.get(name, ())
        try:
            told = await rules.learn(gateway, address, name, records)
        except UnavailableError:
            return ["SERVFAIL"]
        found = [each.address for each in records if each.address is not None]
        return ["NOERROR", *(str(each) for each in found if told is None or each in told)]

    def _index(self, gateway: str) -> int | None:
        if self._links is None:
            return self.devices.get(gateway)
        return self._links.index(gateway)
