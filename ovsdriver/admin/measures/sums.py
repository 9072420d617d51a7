"""Traffic of networks, which must not fall when a container ends."""

from collections.abc import Collection, Iterator
from operator import add

from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.wires.observed import Traffic


class Sums:
    """Adds up what the endpoints of each network have counted, from one scrape to the next.

    An ended one's last count stays in its network's; a link that was made anew begins at nought,
    and what it had counted before stays, too.
    """

    def __init__(self) -> None:
        self._last: dict[EndpointId, tuple[str, Traffic]] = {}
        self._ended: dict[str, Traffic] = {}
        self._now: dict[EndpointId, tuple[str, Traffic]] = {}

    def add(self, network: str, endpoint: EndpointId, traffic: Traffic) -> None:
        """Count one endpoint of the scrape that goes on."""
        self._now[endpoint] = (network, traffic)

    def finish(self, networks: Collection[str]) -> Iterator[tuple[str, Traffic]]:
        """End the scrape: give what each of ``networks``, which are all there are, has in all."""
        for endpoint, (network, before) in self._last.items():
            _, now = self._now.get(endpoint, (network, None))
            if now is None or _fell(before, now):
                self._ended[network] = _sum(self._ended.get(network, Traffic()), before)
        self._ended = {each: self._ended.get(each, Traffic()) for each in networks}
        total = dict(self._ended)
        for network, traffic in self._now.values():
            total[network] = _sum(total[network], traffic)
        self._last, self._now = self._now, {}
        yield from sorted(total.items(), key=lambda each: each[0])


def _fell(before: Traffic, now: Traffic) -> bool:
    return any(later < earlier for later, earlier in zip(now, before, strict=True))


def _sum(one: Traffic, other: Traffic) -> Traffic:
    return Traffic(*map(add, one, other))
