"""What is beyond a NIC: wires to a switch, and hosts on VLANs of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.bed import Bed
from tests.e2e.traffic import Place
from tests.e2e.web import Pages
from tests.e2e.world import Program

BRIDGE = "br-far"
NICS = ("eth1", "eth2")


class Far:
    """The switch ``br-far``; NIC ``eth1`` of the host is wired to its port ``wire1``, and so on.

    It is a bridge of the same Open vSwitch, and shares nothing else with what is tested.
    """

    def __init__(self, bed: Bed, nics: tuple[str, ...] = NICS) -> None:
        self._bed = bed
        self._nics = nics
        self._servers: list[Program] = []
        self._spaces: list[str] = []
        bed.ovs_vsctl("add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev")
        for nic in nics:
            self.wire(nic)

    def wire(self, nic: str) -> None:
        """Plug a NIC in: a veth pair, whose other end is a port of the switch for all VLANs."""
        end = self.end(nic)
        self._bed.ip("link", "add", nic, "type", "veth", "peer", "name", end)
        self._bed.run("ethtool", "-K", nic, "tx", "off")
        # the far end is no place for the host to be, as with any wire
        self._bed.ip("link", "set", end, "up", "arp", "off")
        self._bed.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{end}/disable_ipv6")
        self._bed.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv4/conf/{end}/rp_filter")
        self._bed.ovs_vsctl("--may-exist", "add-port", BRIDGE, end)

    @staticmethod
    def end(nic: str) -> str:
        """Return the name of the other end of a NIC's wire."""
        return nic.replace("eth", "wire")

    def host(self, name: str, *addresses: str, tag: int | None) -> Place:
        """Add a host on a VLAN, or on untagged frames, that serves its name over HTTP."""
        bed = self._bed
        netns = bed.add_namespace(name)
        self._spaces.append(name)
        port = f"p-{name}"
        bed.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        bed.run("ethtool", "-K", "eth0", "tx", "off", netns=netns)
        bed.ip("link", "set", port, "up", "arp", "off")
        bed.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{port}/disable_ipv6")
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            bed.ip("address", "add", address, "dev", "eth0", *nodad, netns=netns)
        bed.ip("link", "set", "eth0", "up", netns=netns)
        tagged = [f"tag={tag}"] if tag else ["tag=0", "vlan_mode=access"]
        bed.ovs_vsctl("add-port", BRIDGE, port, *tagged)
        server = Pages(bed, name, netns)
        server.start()
        self._servers.append(server)
        return Place(bed, name, netns)

    def bond(self, lacp: str) -> None:
        """Take the wires for one, as a switch does for a host with a bond."""
        ends = [self.end(nic) for nic in self._nics]
        removed = [part for end in ends for part in ("--", "del-port", BRIDGE, end)]
        bonded = ("--", "add-bond", BRIDGE, "wires", *ends, "bond_mode=balance-tcp")
        self._bed.ovs_vsctl(*removed[1:], *bonded, f"lacp={lacp}")

    def silence(self, name: str) -> None:
        """Unplug a host, without a trace for who is at the other end of the wire."""
        self._bed.ovs_vsctl("del-port", BRIDGE, f"p-{name}")

    def close(self) -> None:
        """Take all of it away."""
        for server in self._servers:
            server.stop()
        self._bed.ovs_vsctl("--if-exists", "del-br", BRIDGE)
        for nic in self._nics:
            self._bed.attempt("ip", "link", "del", nic)
        for name in self._spaces:
            self._bed.attempt("ip", "link", "del", f"p-{name}")
            self._bed.ip("netns", "del", name)


@contextmanager
def beyond(bed: Bed, *nics: str) -> Iterator[Far]:
    """Give the bed NICs with a switch beyond them; two, if none is named."""
    far = Far(bed, nics or NICS)
    try:
        yield far
    finally:
        far.close()
