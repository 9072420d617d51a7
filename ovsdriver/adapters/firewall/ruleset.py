"""All rules of this host that IP packets meet, as they stand, and ours as they should. Blocks."""

from collections.abc import Sequence

from ovsdriver.adapters.firewall import chain_readers, iptables_reader, nft_rules
from ovsdriver.adapters.firewall.docker_user import Iptables
from ovsdriver.adapters.firewall.nft import Nft
from ovsdriver.domain.traffic.chains import BaseChain
from ovsdriver.domain.traffic.firewall import FirewallPlan, HostNetwork, outside_bridges

_IPTABLES_CHAINS = ("INPUT", "FORWARD", "OUTPUT")


async def standing() -> list[BaseChain]:
    """Return the base chains of this host.

    Raises:
        UnavailableError: nftables or iptables did not answer.
    """
    nft = Nft()
    try:
        found = chain_readers.from_ruleset(nft.list_ruleset())
    finally:
        nft.close()
    for family in (4, 6):
        iptables = Iptables(family)
        listing = await iptables.listing()
        if listing is None:
            continue
        read = [
            iptables_reader.from_iptables(iptables.program, listing, assume_ours=False, name=name)
            for name in _IPTABLES_CHAINS
        ]
        if await iptables.shows_nftables():
            # The same rules, but iptables says more about them.
            found = [each for each in found if not any(map(each.same_place, read))]
        found += read
    return found


def wanted(plan: FirewallPlan, host: HostNetwork, *, table: str) -> Sequence[BaseChain]:
    """Return the base chains of our table as records say; what it guards others from is left out.

    Args:
        plan: of all records.
        host: links and routes, by which bridges are told that lead outside.
        table: its name.
    """
    objects = nft_rules.render(plan, table=table, outside=outside_bridges(plan, host))
    return chain_readers.from_ruleset(objects)
