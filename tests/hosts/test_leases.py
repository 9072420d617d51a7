"""Addresses that three hosts give at once, while the server that leads dies."""

import re
from concurrent.futures import ThreadPoolExecutor
from signal import SIGKILL

import pytest

from tests.e2e.wire import Wire
from tests.e2e.world import until
from tests.hosts.central import NORTH
from tests.hosts.fleet import Fleet, at_once
from tests.hosts.host import Host

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

EACH = 300
"""Addresses for each host."""
PATIENCE = 200
"""Refusals that a client takes one after the other before it gives up."""


class Client:
    """Takes addresses of a segment on one host, one after the other."""

    def __init__(self, host: Host, subnet: str = "") -> None:
        self._wire = Wire(host)
        self.pool = self._wire.pool(subnet, segment="blue")
        self.given: list[str] = []
        self.refusals: list[str] = []

    def take(self) -> None:
        """Take as many as each host shall have; what is refused is asked for again."""
        while len(self.given) < EACH and len(self.refusals) < PATIENCE:
            answer = self._wire.request_address(self.pool)
            if "Address" in answer:
                self.given.append(str(answer["Address"]).partition("/")[0])
            else:
                self.refusals.append(answer["Err"])

    def give_back(self) -> None:
        """Release all of them, and the pool."""
        for address in self.given:
            self._wire.release_address(self.pool, address)
        self._wire.release_pool(self.pool)


def held(host: Host) -> set[str]:
    """Return the addresses that one server has, whether it leads or not."""
    ask = ("ovn-nbctl", f"--db={NORTH.socket}", "--no-leader-only", "--bare", "--columns=name")
    return set(re.findall(r"^blue/([\d.]+)$", host.run(*ask, "list", "Logical_Switch_Port"), re.M))


@pytest.mark.core
def test_no_address_is_lost_or_given_twice_when_the_leader_dies(fleet: Fleet) -> None:
    first = Client(fleet.host(1), "10.60.0.0/21")
    clients = [first, *(Client(host) for host in fleet.hosts[1:])]
    try:
        leader = fleet.leader(NORTH)
        with ThreadPoolExecutor(len(clients)) as pool:
            taking = [pool.submit(client.take) for client in clients]
            until(lambda: sum(len(each.given) for each in clients) > EACH, "a third is given")
            leader.daemons["ovn-nb"].stop(SIGKILL)
            for each in taking:
                each.result()
        leader.daemons["ovn-nb"].start()
        given = [address for client in clients for address in client.given]
        refusals = [client.refusals[-1:] for client in clients]
        assert len(given) == EACH * len(clients), refusals
        assert len(set(given)) == len(given), "an address was given twice"
        until(
            lambda: all(found == set(given) for found in at_once(held, fleet.hosts)),
            lambda: (
                f"all have what was given: {[h ^ set(given) for h in at_once(held, fleet.hosts)]}"
            ),
        )
    finally:
        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(Client.give_back, clients))
    until(lambda: not held(fleet.host(1)), "all are released")
