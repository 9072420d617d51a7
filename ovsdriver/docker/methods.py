"""Both protocols as tables: a method's name, its request, the service's call, the reply."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ipam import (
    DEFAULT_SPACE,
    GLOBAL_SPACE,
    AddressRequest,
    PoolId,
    PoolRequest,
)
from ovsdriver.docker import ipam, network
from ovsdriver.domain.records.model import NetworkId
from ovsdriver.domain.records.requests import NewNetwork
from ovsdriver.domain.records.segments import space_of
from ovsdriver.errors import UnavailableError
from ovsdriver.http.server import Call, Reply
from ovsdriver.logs import event
from ovsdriver.service.attach.endpoints import Endpoints
from ovsdriver.service.attach.publications import Publications
from ovsdriver.service.forgotten.abandoned_pools import AbandonedPools
from ovsdriver.service.networks.networks import Networks
from ovsdriver.words.fields import Fields

log = logging.getLogger(__name__)

Request = TypeVar("Request")

EMPTY: Reply = {}
"""What a call with nothing to say answers: dockerd reads an empty body as an error."""

DEFAULT_SPACES = ipam.Spaces(local=DEFAULT_SPACE, shared=GLOBAL_SPACE)

STARTING_WAIT_S = 8.0
"""How long a call waits for a process that is still starting. Whoever configures another deadline
than the default 10 s gives another wait too: it must be the shorter one, so that the answer is a
sentence about the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What answers, once it is there."""

    networks: Networks
    endpoints: Endpoints
    publications: Publications
    ipam: AbandonedPools


class Backend:
    """The services as the calls see them: starting, then there or, with a sentence, not.

    The sockets answer from the first moment on, because dockerd waits 15 s for each call that
    it cannot place, one after the other, before its own API answers.
    """

    def __init__(self, *, wait_s: float = STARTING_WAIT_S) -> None:
        self._wait_s = wait_s
        self._services: Services | None = None
        self._sentence = ""
        self._decided = asyncio.Event()
        self._closed = ""
        self._closing = asyncio.Lock()
        self._serving = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def ready(self, services: Services) -> None:
        """Serve from now on."""
        self._services = services
        self._decided.set()

    def degrade(self, sentence: str) -> None:
        """Fail every call that needs a service, at once, with ``sentence``, until ``ready``."""
        self._services = None
        self._sentence = sentence
        self._decided.set()

    @property
    def degraded(self) -> str:
        """The sentence, empty if there is none."""
        return "" if self._services is not None else self._sentence

    @asynccontextmanager
    async def closed(self, sentence: str) -> AsyncIterator[None]:
        """Fail every call that needs a service with ``sentence`` inside of this block.

        The block begins when the last of the calls that are being served has ended, which their
        own deadline bounds.
        """
        async with self._closing:
            self._closed = sentence
            try:
                await self._idle.wait()
                yield
            finally:
                self._closed = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Count a call that is being served; to be entered right after ``services``."""
        self._serving += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._serving -= 1
            if not self._serving:
                self._idle.set()

    async def services(self) -> Services:
        """Return the services.

        Raises:
            UnavailableError: they will not come, or not in time, or are closed.
        """
        if self._services is None and not self._decided.is_set():
            try:
                async with asyncio.timeout(self._wait_s):
                    await self._decided.wait()
            except TimeoutError as error:
                raise UnavailableError(
                    f"ovsnet is still starting after {self._wait_s:g} s; try again, and see its "
                    "log if that does not end"
                ) from error
        if self._services is None:
            raise UnavailableError(self._sentence)
        if self._closed:
            raise UnavailableError(self._closed)
        return self._services


def network_calls(backend: Backend) -> Mapping[str, Call]:
    """Return the calls of a network driver, by their names on the wire."""

    def served(
        read: Callable[[Fields], Request], serve: Callable[[Services, Request], Awaitable[Reply]]
    ) -> Call:
        return _served(backend, read, serve)

    return {
        "NetworkDriver.GetCapabilities": _constant(network.CAPABILITIES),
        "NetworkDriver.AllocateNetwork": _local(network.allocation, network.allocation_reply),
        "NetworkDriver.FreeNetwork": _local(network.network_id, _nothing_to_say),
        "NetworkDriver.DiscoverNew": _local(_unread, _nothing_to_say),
        "NetworkDriver.DiscoverDelete": _local(_unread, _nothing_to_say),
        "NetworkDriver.EndpointOperInfo": _local(network.place, _operational_info),
        "NetworkDriver.GwAllocCheck": served(network.gateway_check, _gateway_check),
        "NetworkDriver.CreateNetwork": served(network.new_network, _create_network),
        "NetworkDriver.DeleteNetwork": served(network.network_id, _delete_network),
        "NetworkDriver.CreateEndpoint": served(network.endpoint_creation, _create_endpoint),
        "NetworkDriver.DeleteEndpoint": served(network.place, _delete_endpoint),
        "NetworkDriver.Join": served(network.join, _join),
        "NetworkDriver.Leave": served(network.place, _leave),
        "NetworkDriver.ProgramExternalConnectivity": served(network.publication, _publish),
        "NetworkDriver.RevokeExternalConnectivity": served(network.place, _revoke),
    }


def ipam_calls(backend: Backend, spaces: ipam.Spaces = DEFAULT_SPACES) -> Mapping[str, Call]:
    """Return the calls of an IPAM driver whose default address spaces are ``spaces``."""
    return {
        "IpamDriver.GetCapabilities": _constant(ipam.CAPABILITIES),
        "IpamDriver.GetDefaultAddressSpaces": _constant(ipam.spaces_reply(spaces)),
        "IpamDriver.RequestPool": _served(
            backend, lambda body: ipam.pool_request(body, spaces), _request_pool
        ),
        "IpamDriver.ReleasePool": _served(backend, ipam.pool_id, _release_pool),
        "IpamDriver.RequestAddress": _served(backend, ipam.address_request, _request_address),
        "IpamDriver.ReleaseAddress": _served(backend, ipam.release, _release_address),
    }


def named_spaces(name: str) -> ipam.Spaces:
    """Return the spaces of the driver ``ovsipam-NAME``."""
    return ipam.Spaces(local=name, shared=ipam.global_twin(name))


def segment_spaces(segment: str) -> ipam.Spaces:
    """Return the spaces of the driver ``ovsipam-SEGMENT``: one, which all hosts have in common."""
    return ipam.Spaces(local=space_of(segment), shared=space_of(segment))


def both_kinds(backend: Backend) -> Mapping[str, Call]:
    """Return what ``ovsnet.sock`` answers: a network driver and an IPAM driver of one name."""
    return {
        "Plugin.Activate": _constant({"Implements": ["NetworkDriver", "IpamDriver"]}),
        **network_calls(backend),
        **ipam_calls(backend),
    }


def ipam_only(backend: Backend, spaces: ipam.Spaces = DEFAULT_SPACES) -> Mapping[str, Call]:
    """Return what ``ovsipam.sock`` and ``ovsipam-NAME.sock`` answer."""
    return {
        "Plugin.Activate": _constant({"Implements": ["IpamDriver"]}),
        **ipam_calls(backend, spaces),
    }


def _constant(reply: Reply) -> Call:
    """Return a call without arguments that needs nothing: it can never fail."""

    async def answer(_: Fields) -> Reply:
        return reply

    return Call(answer=answer, arguments=False)


def _local(read: Callable[[Fields], Request], render: Callable[[Request], Reply]) -> Call:
    """Return a call that is answered without a service."""

    async def answer(body: Fields) -> Reply:
        return render(read(body))

    return Call(answer=answer)


def _served(
    backend: Backend,
    read: Callable[[Fields], Request],
    serve: Callable[[Services, Request], Awaitable[Reply]],
) -> Call:
    """Return a call that is read first, so that a bad request never waits, then served."""

    async def answer(body: Fields) -> Reply:
        request = read(body)
        services = await backend.services()
        with backend.serving():
            return await serve(services, request)

    return Call(answer=answer)


def _unread(_: Fields) -> None:
    """Discovery of swarm's nodes is of no use to a driver of local scope."""


def _nothing_to_say(_: object) -> Reply:
    return EMPTY


def _operational_info(_: network.Place) -> Reply:
    return network.OPERATIONAL_INFO


async def _gateway_check(services: Services, check: network.GatewayCheck) -> Reply:
    return network.gateway_skips_reply(
        services.networks.gateway_skips(check.options, check.internal)
    )


async def _create_network(services: Services, new: NewNetwork) -> Reply:
    _note_ignored(new.options.ignored)
    await services.networks.create(new)
    return EMPTY


async def _delete_network(services: Services, network_id: NetworkId) -> Reply:
    await services.networks.delete(network_id)
    return EMPTY


async def _create_endpoint(services: Services, creation: network.EndpointCreation) -> Reply:
    _note_ignored(creation.new.options.ignored)
    return network.endpoint_reply(creation, await services.endpoints.create(creation.new))


async def _delete_endpoint(services: Services, place: network.Place) -> Reply:
    await services.endpoints.delete(place.network, place.endpoint)
    return EMPTY


async def _join(services: Services, join: network.Join) -> Reply:
    place = join.place
    return network.join_reply(
        await services.endpoints.join(place.network, place.endpoint, join.sandbox, join.ports)
    )


async def _leave(services: Services, place: network.Place) -> Reply:
    await services.endpoints.leave(place.network, place.endpoint)
    return EMPTY


async def _publish(services: Services, publication: network.Publication) -> Reply:
    place = publication.place
    await services.publications.publish(
        place.network,
        place.endpoint,
        publication.ports,
        other_gateway6=publication.other_gateway6,
    )
    return EMPTY


async def _revoke(services: Services, place: network.Place) -> Reply:
    await services.publications.revoke(place.network, place.endpoint)
    return EMPTY


async def _release_pool(services: Services, pool_id: PoolId) -> Reply:
    await services.ipam.release_pool(pool_id)
    return EMPTY


async def _request_pool(services: Services, asked: tuple[PoolRequest, tuple[str, ...]]) -> Reply:
    request, ignored = asked
    _note_ignored(ignored)
    return ipam.pool_reply(await services.ipam.request_pool(request))


async def _request_address(services: Services, request: AddressRequest) -> Reply:
    lease = await services.ipam.request_address(request)
    pool = services.ipam.pool(lease.pool)
    if pool is None:
        # ReleasePool came in between and freed the lease with its pool.
        raise UnavailableError(f"pool {lease.pool} was released meanwhile; try again")
    return ipam.address_reply(lease, pool)


async def _release_address(services: Services, release: ipam.Release) -> Reply:
    # The endpoint goes first: an address is free only when nothing answers to it any more.
    await services.endpoints.release(release.pool, release.address)
    await services.ipam.release_address(release.pool, release.address)
    return EMPTY


def _note_ignored(keys: Sequence[str]) -> None:
    if keys:
        event(log, "options.ignored", keys=", ".join(keys))
