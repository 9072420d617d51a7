"""Other options for an endpoint that stands."""

from collections.abc import Sequence
from contextlib import suppress

from ovsdriver.causes import because
from ovsdriver.domain.plan import replanning
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.ports import State, SwitchView
from ovsdriver.service.aspects.aspect import Aspect
from ovsdriver.service.attach.lookup import standing_network, two_tags
from ovsdriver.service.attach.plugs import Plugs
from ovsdriver.service.attach.surprises import tell_vlans
from ovsdriver.service.change.change import TAKEN_BACK, Change
from ovsdriver.service.locks import Locks
from ovsdriver.service.networks.networks import SWITCH_WAIT_S
from ovsdriver.words.changes import OtherOptions


class EndpointChange:
    """Its record first, then its port."""

    def __init__(
        self,
        *,
        state: State,
        switch: SwitchView,
        locks: Locks,
        aspects: Sequence[Aspect],
        plugs: Plugs,
    ) -> None:
        self._state = state
        self._switch = switch
        self._locks = locks
        self._aspects = aspects
        self._plugs = plugs

    async def change(self, endpoint_id: EndpointId, wish: OtherOptions) -> Change[Endpoint]:
        """Give an endpoint other options: its record first, then its port.

        Nothing is changed if it is refused.

        Args:
            endpoint_id: Docker's.
            wish: the options that change.

        Raises:
            UnknownObjectError: there is no such endpoint.
            InvalidOptionError, ConflictError, UnsupportedError: see ``replanning.endpoint``; or
                the OpenFlow port number is taken.
            UnavailableError: Open vSwitch or the store did not answer, and nothing was changed.
                What does not answer after the record was changed is in the result.
        """
        async with self._locks.held(endpoint_id):
            await self._switch.connected(SWITCH_WAIT_S)
            before = self._state.endpoint(endpoint_id)
            if before is None or before.ended:
                raise UnknownObjectError(f"endpoint {endpoint_id[:12]} was removed meanwhile")
            network = standing_network(self._state, before.network)
            after = replanning.endpoint(
                before, wish.of_endpoint(before), network, two_tags=two_tags(self._switch)
            )
            for each in self._aspects:
                await each.check(network, after)
            if after != before:
                await self._state.put_endpoint(after)
            pending = ""
            try:
                await self._follow(network, after)
            except (ConflictError, InvalidOptionError, UnsupportedError):
                with because(why=TAKEN_BACK):
                    await self._state.put_endpoint(before)
                with suppress(DriverError):  # the reconciler goes on from the record
                    await self._follow(network, before)
                raise
            except UnavailableError as error:
                pending = str(error)
        tell_vlans(network, after, self._state.networks())
        return Change(before=before, after=after, pending=pending)

    async def _follow(self, network: Network, endpoint: Endpoint) -> None:
        """Make the port of an endpoint as its changed record says."""
        if endpoint.sandbox is not None:
            await self._plugs.replug(network, endpoint)
            self._plugs.changed(endpoint.sandbox)
