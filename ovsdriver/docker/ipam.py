"""``IpamDriver.*``: requests as values of the IPAM, and replies. Member names are Docker's."""

from collections.abc import Mapping
from dataclasses import dataclass

from netaddr import IPAddress

from ipam import AddressRequest, Lease, LeaseKind, Pool, PoolId, PoolRequest
from ovsdriver.domain.records.segments import segment_of, space_of
from ovsdriver.words import options, values
from ovsdriver.words.fields import Fields

GATEWAY = "com.docker.network.gateway"
NAME = "com.docker.network.endpoint.name"
"""The container's, from engine 29 on."""

NAME_LENGTH = 255

CAPABILITIES: Mapping[str, object] = {"RequiresRequestReplay": False}
"""So dockerd says nothing again at its start (libnetwork/controller.go, reservePools): our store
forgets nothing. Not ``RequiresMACAddress``: Docker would invent the MAC, and then forbid ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spaces:
    """The address spaces that one IPAM driver's name stands for."""

    local: str
    shared: str
    """For networks of scope ``global``. Swarm asks for the same subnet in both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """ReleaseAddress."""

    pool: PoolId
    address: IPAddress


def spaces_reply(spaces: Spaces) -> Mapping[str, object]:
    """Render the answer to GetDefaultAddressSpaces."""
    return {
        "LocalDefaultAddressSpace": spaces.local,
        "GlobalDefaultAddressSpace": spaces.shared,
    }


def pool_request(body: Fields, spaces: Spaces) -> tuple[PoolRequest, tuple[str, ...]]:
    """Read RequestPool; also returns the options that are other people's."""
    said = body.inner("Options")
    asked = body.text("AddressSpace")
    wanted = options.pool(
        {key: said.text(key) for key, value in said.items() if value is not None},
        # by the driver's name: a space may be what was said in its place while it did not run
        segment=segment_of(spaces.local) or segment_of(asked),
    )
    subnet = body.subnet("Pool")
    window = body.subnet("SubPool")
    if window is not None and subnet is None:
        raise body.refusal("SubPool", "an --ip-range needs the --subnet that it is a part of")
    v6 = body.flag("V6")
    family = 6 if v6 else 4
    if subnet is not None:
        if v6 and subnet.version != family:
            raise body.refusal("Pool", f'"{subnet}" is not IPv6, which "V6" asks for')
        family = subnet.version
    if window is not None and window.version != family:
        raise body.refusal("SubPool", f'"{window}" is not IPv{family}, as the subnet is')
    return (
        PoolRequest(
            space=(
                _space(asked, wanted.space, spaces)
                if wanted.segment is None
                else space_of(wanted.segment)
            ),
            subnet=subnet,
            window=window,
            family=family,
            prefix=_prefix(wanted.prefix, family, named=subnet is not None),
            excluded=wanted.excluded,
            quarantine_s=wanted.quarantine_s,
            limit=wanted.limit,
            probe=wanted.probe,
        ),
        wanted.ignored,
    )


def _prefix(wanted: tuple[int, int] | None, family: int, *, named: bool) -> int | None:
    """Return the prefix length that is wished for a subnet; None: none is.

    One length may be typed on a network of which one family has a named subnet. It is about the
    other one then, if a subnet of this family is never that large, or never that small.
    """
    if wanted is None:
        return None
    prefix = wanted[family == 6]
    return None if named and (prefix > 32) != (family == 6) else prefix


def _space(asked: str, wanted: str | None, spaces: Spaces) -> str:
    """Return ``ipam.space`` where it is typed, in its global twin where swarm's manager asks."""
    if wanted is None:
        return asked or spaces.local
    return global_twin(wanted) if asked == spaces.shared else wanted


def global_twin(space: str) -> str:
    """Return the name of the space that swarm's manager uses beside ``space``."""
    return f"{space}-global"


def pool_reply(pool: Pool) -> Mapping[str, object]:
    """Render the answer to RequestPool."""
    return {"PoolID": pool.id, "Pool": str(pool.subnet), "Data": {}}


def pool_id(body: Fields) -> PoolId:
    """Read the id of a pool, which is ours and opaque to Docker."""
    return PoolId(body.required("PoolID"))


def address_request(body: Fields) -> AddressRequest:
    """Read RequestAddress.

    An ``--aux-address`` looks like a container's ``--ip`` here. Which of the addresses are
    auxiliary is said by CreateNetwork alone, whose record keeps them.
    """
    said = body.inner("Options")
    kind = LeaseKind.ENDPOINT
    if said.text("RequestAddressType") == GATEWAY:
        kind = LeaseKind.GATEWAY
    name = said.text(NAME)
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise said.refusal(NAME, f"{values.quote(name)} is not a container's name")
    return AddressRequest(pool=pool_id(body), address=body.address("Address"), kind=kind, name=name)


def address_reply(lease: Lease, pool: Pool) -> Mapping[str, object]:
    """Render the answer to RequestAddress; the pool's prefix length becomes the interface's."""
    return {"Address": f"{lease.address}/{pool.subnet.prefixlen}", "Data": {}}


def release(body: Fields) -> Release:
    """Read ReleaseAddress."""
    address = body.address("Address")
    if address is None:
        raise body.refusal("Address", "missing; this call needs it")
    return Release(pool=pool_id(body), address=address)
