"""Containers whose questions do not come by our name servers, so that their rules learn nothing.

Docker asks the host's own servers from the host: from Docker 28 on all of them, before that those
on loopback, and those of IPv6 for containers without it. What a container was given by ``--dns``,
or the daemon by its ``dns``, is asked from the container, and comes by its gateway.
"""

from collections.abc import Callable, Sequence

from netaddr import IPAddress

from ovsdriver.domain.access.policy import AccessPlan, Member
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.tracing.name_servers import learns_nothing
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import Engine, State
from ovsdriver.service.aspects.aspect import Finding


class AskedPast:
    """Reads each container's ``/etc/resolv.conf`` once, after it has joined."""

    def __init__(
        self, *, state: State, engine: Engine, listed: Callable[[EndpointId], str]
    ) -> None:
        """``listed``: the container's name in Docker's last words, empty if it has none there."""
        self._state = state
        self._engine = engine
        self._listed = listed
        self._read: dict[tuple[EndpointId, str], tuple[IPAddress, ...]] = {}
        """Servers that Docker asks from the host, by endpoint and sandbox."""

    async def find(self, plan: AccessPlan) -> Sequence[Finding]:
        """Tell of containers with names in their rules; what Docker does not tell comes later."""
        asking = {each.key for each in plan.policies if each.asks_names}
        members = [each for each in plan.members if each.gateway and each.policy in asking]
        places = {each: self._place(each) for each in members}
        self._read = {place: self._read[place] for place in places.values() if place in self._read}
        return [
            Finding(what=text)
            for member, place in places.items()
            if (text := await self._told(member, place))
        ]

    def _place(self, member: Member) -> tuple[EndpointId, str]:
        endpoint = self._state.endpoint(member.endpoint)
        return member.endpoint, (endpoint.sandbox if endpoint is not None else None) or ""

    async def _told(self, member: Member, place: tuple[EndpointId, str]) -> str:
        name = self._listed(member.endpoint)
        if not place[1] or not name:
            return ""
        if place not in self._read:
            try:
                servers = await self._engine.asks(name)
            except UnavailableError:
                return ""
            self._read[place] = tuple(each.address for each in servers.forwarded if each.by_host)
        past, network = self._read[place], self._state.network(member.network)
        if not past or network is None:
            return ""
        return f"container {name}: {learns_nothing(past, network)}"
