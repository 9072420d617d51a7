"""What is between the hosts: a switch for their underlay, and one for a trunk of VLANs."""

import sys
from pathlib import Path

from tests.e2e import vlan as vlan_program
from tests.e2e.traffic import Place
from tests.e2e.web import Pages
from tests.e2e.world import Program, World, until

UNDERLAY = "under"
TRUNK = "trunk"
NICS = {UNDERLAY: "eth0", TRUNK: "eth1"}
"""The NIC of each host by the switch that it is wired to."""


def underlay_address(number: int) -> str:
    """Return the address of a host, from 1 on, or of a machine that is none, from 100 on."""
    return f"203.0.113.{number}"


class Underlay(World):
    """Two bridges of the kernel, which pass frames with any tag."""

    def __init__(self) -> None:
        super().__init__()
        self._outsiders: dict[str, list[Program]] = {}

    def power_on(self) -> None:
        """Make the bridges."""
        super().power_on()
        for switch in NICS:
            self.run("ip", "link", "add", switch, "type", "bridge")
            self.run("ip", "link", "set", switch, "up")

    def plug(self, host: World, number: int) -> None:
        """Wire a host to both; its NICs have the same MACs each time."""
        for place, (switch, nic) in enumerate(NICS.items()):
            end = _end(switch, number)
            host.wire_to(self, nic, end, mac=f"02:00:00:00:0{place}:{number:02x}")
            self.run("ip", "link", "set", end, "master", switch, "up")
            host.run("ip", "link", "set", nic, "up")

    def unplug(self, number: int) -> None:
        """Take a host's wires away, and its NICs with them."""
        for switch in NICS:
            self.run("ip", "link", "del", _end(switch, number))

    def cut(self, number: int) -> None:
        """Let a host's underlay carry nothing any more; nobody is told."""
        self.run("ip", "link", "set", _end(UNDERLAY, number), "nomaster")

    def heal(self, number: int) -> None:
        """Undo the cut, if there is one."""
        self.run("ip", "link", "set", _end(UNDERLAY, number), "master", UNDERLAY)

    def outsider(
        self, name: str, *addresses: str, switch: str = TRUNK, vlan: int | None = None
    ) -> Place:
        """Add a machine that knows nothing of OVN, and serves its name over HTTP.

        Args:
            name: of the machine, at most 11 characters.
            addresses: with prefix lengths.
            switch: to which it is wired.
            vlan: the tag of its frames; None for none.
        """
        netns = self.add_namespace(name)
        port = f"out-{name}"
        self.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        self.run("ethtool", "-K", "eth0", "tx", "off", netns=netns)
        self.run("ip", "link", "set", port, "master", switch, "up")
        self.run("ip", "link", "set", "eth0", "up", netns=netns)
        programs: list[Program] = []
        device = "eth0"
        if vlan is not None:
            device = f"eth0.{vlan}"
            said = (sys.executable, str(Path(vlan_program.__file__)), "eth0", str(vlan))
            programs.append(Program(self, f"{name}-vlan", *said, netns=netns))
            programs[-1].start()
            until(
                lambda: self.attempt("ip", "link", "show", device, netns=netns).code == 0,
                f"{device} is there",
            )
            self.run("ip", "link", "set", device, "up", netns=netns)
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            self.run("ip", "address", "add", address, "dev", device, *nodad, netns=netns)
        programs.append(Pages(self, name, netns))
        programs[-1].start()
        self._outsiders[name] = programs
        return Place(self, name, netns)

    def remove(self, name: str) -> None:
        """Take a machine away."""
        for program in reversed(self._outsiders.pop(name)):
            program.stop()
        self.run("ip", "link", "del", f"out-{name}")
        self.run("ip", "netns", "del", name)


def _end(switch: str, number: int) -> str:
    return f"{switch}{number}"
