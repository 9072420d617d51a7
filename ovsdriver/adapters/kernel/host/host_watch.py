"""Watch for what other people do to nftables, routes, forwarding and our gateways. No polling.

Two netlink sockets, read by the event loop. Messages are looked at only as far as needed to tell
what concerns us: kube-proxy rewrites its rules every few seconds, every container brings links
with addresses and switches, and none of that may wake anybody.

Raw sockets and not a library's: of each message two or three numbers are read.
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable, Container, Mapping, Sequence
from enum import Flag, auto

from ovsdriver.adapters.kernel.codec import socket_filter
from ovsdriver.adapters.kernel.codec.address_messages import RTM_DELADDR, RTM_NEWADDR, link_of
from ovsdriver.adapters.kernel.codec.link_messages import (
    RTM_DELLINK,
    RTM_NEWLINK,
    heard_of,
    link_name,
)
from ovsdriver.adapters.kernel.codec.route_messages import (
    RTA_OIF,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    Way,
    ways,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    FAMILIES,
    HEADER,
    attributes,
    listening,
    messages,
    read_text,
)
from ovsdriver.adapters.kernel.host.host_ways import HostWays
from ovsdriver.domain.records.names import GATEWAY_PREFIX
from ovsdriver.errors import UnavailableError

log = logging.getLogger(__name__)

# linux/netlink.h
_NETLINK_ROUTE = 0
_NETLINK_NETFILTER = 12
_MESSAGE_BYTES = 1 << 17
_READS = 32
"""Messages read in one go before the loop gets its turn."""
_APART_S = 0.02
"""From one reading to the next: each container's links come with a dozen messages, one by one."""

# linux/netfilter/nfnetlink.h, nf_tables.h
_NFNLGRP_NFTABLES = 7
_NFNL_SUBSYS_NFTABLES = 10
_NFGEN = struct.Struct("=BBH")
_NFPROTO_INET = 1
_NFT_MSG_NEWCHAIN = 3
_NFT_MSG_DELCHAIN = 5
_NFT_MSG_NEWRULE = 6
_NFT_MSG_DELRULE = 8
_NFT_MSG_NEWGEN = 15
_NFTA_TABLE = 1
_NFTA_CHAIN_NAME = 3
_NFTA_RULE_CHAIN = 2
_NFTA_GEN_PROC_PID = 2
_CHAIN_OF = {
    _NFT_MSG_NEWCHAIN: _NFTA_CHAIN_NAME,
    _NFT_MSG_DELCHAIN: _NFTA_CHAIN_NAME,
    _NFT_MSG_NEWRULE: _NFTA_RULE_CHAIN,
    _NFT_MSG_DELRULE: _NFTA_RULE_CHAIN,
}

# linux/rtnetlink.h, linux/netconf.h
_RTNLGRP_LINK = 1
_RTNLGRP_IPV4_IFADDR = 5
_RTNLGRP_IPV6_IFADDR = 9
_RTNLGRP_IPV4_ROUTE = 7
_RTNLGRP_IPV6_ROUTE = 11
_RTNLGRP_IPV4_NETCONF = 24
_RTNLGRP_IPV6_NETCONF = 25
_RTM_NEWNETCONF = 80
_FIND_ATTRIBUTE = 0xFFFFF000 + 12
"""SKF_AD_NLATTR of linux/filter.h: the offset of an attribute, 0 if it is not there."""
_MOST_HUSHED = 50
"""Links of a family; a program's jumps are short."""
_NETCONFHEADER = 4
_NETCONFA_IFINDEX = 1
_NETCONFA_FORWARDING = 2
_TURNED = 2
"""Attributes of a message about one switch: link and value."""
_EVERY_LINK = (-1, -2)
"""``all`` and ``default``."""
_S32 = struct.Struct("=i")
_BE32 = struct.Struct(">I")


class HostChange(Flag):
    """What someone else may have changed."""

    TABLE = auto()
    """Our nftables table."""
    ACCESS = auto()
    """That of access rules."""
    CHAINS = auto()
    """A chain of others that our accepts stand in."""
    HOST = auto()
    """Routes, or forwarding switches."""


class HostWatch:
    """Tells what changed, as it changes."""

    def __init__(
        self,
        *,
        tables: Mapping[str, HostChange],
        chains: Container[str],
        own_thread: Callable[[], int],
        links: Callable[[], Container[str]],
        known: Callable[[], Mapping[str, int]],
        routes: HostWays,
        changed: Callable[[HostChange], None],
        gateway: Callable[[str], None],
        carrier: Callable[[str, bool | None], None],
    ) -> None:
        """Describe what to look for.

        Args:
            tables: our tables, of family inet, and what a change of each is.
            chains: names of chains of others that matter, in whatever table.
            own_thread: kernel id of the thread whose nftables transactions are our own. The kernel
                names authors by their id in the first process namespace; in another one our own
                are taken for others', and cost a look that finds nothing.
            links: names of links whose forwarding switches matter.
            known: those of them that were looked at since they were made, with their index.
            routes: what is known of them, which is told the news.
            changed: called on the loop.
            gateway: called on the loop with the name of each gateway of ours that came, went, or
                got or lost an address or a setting, by whomever.
            carrier: called on the loop with a link's name and whether it has a carrier, mostly
                again and again; None: it is gone.
        """
        self._tables = tables
        self._chains = chains
        self._own_thread = own_thread
        self._links = links
        self._known = known
        self._routes = routes
        self._changed = changed
        self._gateway = gateway
        self._carrier = carrier
        self._batch = HostChange(0)
        self._names: dict[int, str] = {}
        self._sockets: list[socket.socket] = []
        self._hushed: frozenset[Way] = frozenset()
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Begin to watch the namespace of the calling thread, which is the running loop's.

        Raises:
            UnavailableError: the kernel does not allow it.
        """
        loop = asyncio.get_running_loop()
        for protocol, groups, read, overrun in (
            (_NETLINK_NETFILTER, (_NFNLGRP_NFTABLES,), self._read_nftables, self._missed_nftables),
            (
                _NETLINK_ROUTE,
                (
                    _RTNLGRP_LINK,
                    _RTNLGRP_IPV4_IFADDR,
                    _RTNLGRP_IPV6_IFADDR,
                    _RTNLGRP_IPV4_ROUTE,
                    _RTNLGRP_IPV6_ROUTE,
                    _RTNLGRP_IPV4_NETCONF,
                    _RTNLGRP_IPV6_NETCONF,
                ),
                self._read_route,
                self._missed_routes,
            ),
        ):
            try:
                made = listening(protocol, groups)
            except OSError as error:
                self.stop()
                raise UnavailableError(
                    f"cannot watch the kernel's notifications: {error.strerror}; run as root"
                ) from error
            self._sockets.append(made)
            loop.add_reader(made, self._readable, made, read, overrun)
        # Heard first, then looked at: what changes in between is heard of.
        self._names = {
            index: name for index, name in socket.if_nameindex() if name.startswith(GATEWAY_PREFIX)
        }

    def hush(self, busy: frozenset[Way]) -> None:
        """Have the kernel keep news of routes that lead these ways: a routing daemon's, mostly."""
        if self._sockets and busy != self._hushed:
            socket_filter.attach(self._sockets[-1], _but_for(busy))
            self._hushed = busy

    def stop(self) -> None:
        """Stop watching."""
        for rest in self._resting.values():
            rest.cancel()
        self._resting.clear()
        for each in self._sockets:
            asyncio.get_running_loop().remove_reader(each)
            each.close()
        self._sockets.clear()

    def _readable(
        self,
        source: socket.socket,
        read: Callable[[int, bytes], HostChange],
        overrun: Callable[[], HostChange],
    ) -> None:
        change = HostChange(0)
        for _ in range(_READS):
            try:
                data = source.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                self._rest(source, read, overrun)
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # More was said than the buffer holds; what it was is not known.
                change |= overrun()
                continue
            for kind, message in messages(data):
                change |= read(kind, message)
        if change:
            self._changed(change)

    def _rest(
        self,
        source: socket.socket,
        read: Callable[[int, bytes], HostChange],
        overrun: Callable[[], HostChange],
    ) -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            del self._resting[source]
            loop.add_reader(source, self._readable, source, read, overrun)

        loop.remove_reader(source)
        self._resting[source] = loop.call_later(_APART_S, again)

    def _read_nftables(self, kind: int, message: bytes) -> HostChange:
        """Read one notification; a transaction's effect is told at its end."""
        subsystem, number = kind >> 8, kind & 0xFF
        if subsystem != _NFNL_SUBSYS_NFTABLES or len(message) < _NFGEN.size:
            return HostChange(0)
        found = attributes(message, _NFGEN.size)
        if number == _NFT_MSG_NEWGEN:
            change, self._batch = self._batch, HostChange(0)
            author = found.get(_NFTA_GEN_PROC_PID)
            own = author is not None and _BE32.unpack(author)[0] == self._own_thread()
            return HostChange(0) if own else change
        table = read_text(found.get(_NFTA_TABLE, b""))
        chain = read_text(found.get(_CHAIN_OF.get(number, 0), b""))
        if message[0] == _NFPROTO_INET and table in self._tables:
            self._batch |= self._tables[table]
        elif chain in self._chains:
            self._batch |= HostChange.CHAINS
        return HostChange(0)

    def _missed_nftables(self) -> HostChange:
        self._batch = HostChange(0)
        return HostChange.TABLE | HostChange.ACCESS | HostChange.CHAINS

    def _missed_routes(self) -> HostChange:
        for name in self._names.values():
            self._gateway(name)
        return HostChange.HOST if self._routes.miss() else HostChange(0)

    def _read_route(self, kind: int, message: bytes) -> HostChange:
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            self._read_link(kind, message)
        elif kind in (RTM_NEWADDR, RTM_DELADDR):
            self._tell_of(link_of(message))
        elif kind in (RTM_NEWROUTE, RTM_DELROUTE):
            new = kind == RTM_NEWROUTE
            told = [
                self._routes.hear(way, new=new)
                for way in ways(message)
                if self._routes.tells(way, new=new)
                # A gateway's own routes come and go with it, which is our doing.
                and not self._name(way.link).startswith(GATEWAY_PREFIX)
            ]
            return HostChange.HOST if any(told) else HostChange(0)
        elif kind == _RTM_NEWNETCONF and self._matters(attributes(message, _NETCONFHEADER)):
            return HostChange.HOST
        return HostChange(0)

    def _read_link(self, kind: int, message: bytes) -> None:
        """Read what is said of a link; its name comes first, and mostly it is a container's."""
        index, name, running = heard_of(message)
        self._carrier(name, None if kind == RTM_DELLINK else running)
        self._tell_of(index)
        if kind == RTM_DELLINK:
            self._names.pop(index, None)
        elif name.startswith(GATEWAY_PREFIX) and self._names.get(index) != name:
            self._names[index] = name
            self._gateway(name)

    def _tell_of(self, index: int) -> None:
        name = self._names.get(index)
        if name is not None:
            self._gateway(name)

    def _matters(self, switches: dict[int, bytes]) -> bool:
        if _NETCONFA_FORWARDING not in switches or _NETCONFA_IFINDEX not in switches:
            return False
        index: int = _S32.unpack(switches[_NETCONFA_IFINDEX])[0]
        if index in _EVERY_LINK:
            return True
        name = self._name(index)
        if name not in self._links():
            return False
        off: bool = _S32.unpack(switches[_NETCONFA_FORWARDING])[0] == 0
        # A new link says all its switches, one that was turned only that one; what a link said
        # when it was made is old news once it was looked at.
        if len(switches) == _TURNED or name not in self._known():
            # A link whose switch is on needs nothing; mostly it was us who turned it.
            return off
        # Another device under a gateway's name has none of the switches that we set, whatever it
        # has of the host's.
        looked_at = self._known()[name]
        return looked_at != index

    def _name(self, index: int) -> str:
        """Return a link's name, also just after it is gone; empty if it was never heard of."""
        return link_name(index) or self._names.get(index, "")


def _but_for(busy: frozenset[Way]) -> Sequence[socket_filter.Step]:
    """Return a program that drops news of routes by these ways; multipath routes have no link."""
    # linux/netlink.h, linux/rtnetlink.h: struct nlmsghdr, struct rtmsg, attributes
    kind, family, length, first = 4, HEADER.size, HEADER.size + 1, HEADER.size + 12
    same = socket_filter.JUMP_IF_EQUAL
    tests: list[socket_filter.Step] = []
    for version, number in FAMILIES.items():
        links = sorted(way.link for way in busy if way.family == version)[:_MOST_HUSHED]
        tests += [
            (socket_filter.LOAD_BYTE, 0, 0, family),
            (same, 0, len(links) * 2 + 1, number),
            (socket_filter.LOAD_WORD_AT_INDEX, 0, 0, 4),
        ]
        for index in links:
            tests += [(same, 0, 1, socket.htonl(index)), (socket_filter.GIVE_BACK, 0, 0, 0)]
    allowed = (socket_filter.GIVE_BACK, 0, 0, socket_filter.ALL)
    return (
        (socket_filter.LOAD_HALF, 0, 0, kind),
        (same, 2, 0, socket.htons(RTM_NEWROUTE)),
        (same, 1, 0, socket.htons(RTM_DELROUTE)),
        allowed,
        (socket_filter.LOAD_BYTE, 0, 0, length),
        (same, 0, 1, 0),
        allowed,
        (socket_filter.LOAD_NUMBER, 0, 0, first),
        (socket_filter.LOAD_INDEX, 0, 0, RTA_OIF),
        (socket_filter.LOAD_WORD, 0, 0, _FIND_ATTRIBUTE),
        (same, 0, 1, 0),
        allowed,
        (socket_filter.TO_INDEX, 0, 0, 0),
        *tests,
        allowed,
    )
