"""Pairs of containers that have ended, deleted before Docker gets to them.

After Leave dockerd moves the container's end back to the host, for which it waits longer than the
kernel needs to delete the pair. A pair that is gone by then it does not miss, if its container has
ended. In one that runs, the end is dockerd's to move out: an interface that it could not move stays
in its list of what the container has, whose statistics fail then, and from engine 28 on its name
is not given again (libnetwork/osl/interface_linux.go).
"""

import logging

from ovsdriver.domain.records.model import EndpointId
from ovsdriver.errors import DriverError
from ovsdriver.ports import Links

log = logging.getLogger(__name__)


class EndedPairs:
    """Which endpoints' pairs were deleted by Leave. Kept by this process only.

    After a crash DeleteEndpoint looks for them.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._gone: set[EndpointId] = set()

    async def delete(self, endpoint: EndpointId, link: str, sandbox: str) -> None:
        """Have a pair deleted if nothing runs in ``sandbox``; what fails is left to dockerd."""
        try:
            if await self._links.sandbox_used(sandbox, glance=True):
                return
            await self._links.remove_link(link)
        except DriverError as error:
            log.info("endpoint.link-left", extra={"link": link, "why": str(error)})
            return
        self._gone.add(endpoint)

    def forget(self, endpoint: EndpointId) -> bool:
        """Forget an endpoint; whether its pair was deleted."""
        if endpoint in self._gone:
            self._gone.remove(endpoint)
            return True
        return False
