"""One host of a fleet: a test bed with ovn-controller, wired to the others."""

import json
from collections.abc import Mapping

from tests.e2e.bed import Bed, Daemon
from tests.e2e.world import Program, until
from tests.hosts.central import NORTH, SOUTH, Central, Centre
from tests.hosts.certificates import Identity
from tests.hosts.underlay import NICS, UNDERLAY, Underlay, underlay_address

PHYSICAL = "br-phy"
"""Of the host's own: in userspace tunnels need the underlay's address on a bridge."""

_CONTROL = "/run/ovn/ovn-controller.ctl"
_NEW_BOOT = """
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
"""


class Host(Bed):
    """Open vSwitch in userspace, ovn-controller, our process and dockerd.

    Its parts are started by the fleet: all hosts take each step together.
    """

    def __init__(
        self,
        number: int,
        underlay: Underlay,
        *,
        identity: Identity | None = None,
        settings: str = "",
        docker_settings: Mapping[str, object] | None = None,
        docker: bool = True,
    ) -> None:
        """Describe a host.

        Args:
            number: from 1 on.
            underlay: what it is wired to.
            identity: for TLS; None for none.
            settings: more of our configuration than where the databases are.
            docker_settings: content of dockerd's.
            docker: without, only the test itself speaks to our process.
        """
        super().__init__(docker_settings=docker_settings, docker=docker)
        self.number = number
        self.system_id = f"host{number}"
        """How OVN calls it."""
        self.address = underlay_address(number)
        self._underlay = underlay
        self.identity = identity
        self._settings = settings
        self.central: Central | None = None
        self.controller = Program(self, "ovn-controller", *self._controller())

    def power_on(self) -> None:
        """Make its namespaces and plug it in."""
        super().power_on()
        self.run("sh", "-c", _NEW_BOOT)
        self._underlay.plug(self, self.number)

    def power_off(self) -> None:
        """Let its power fail: the wires first, which the kernel would take away much later."""
        if self.on:
            self._underlay.unplug(self.number)
        super().power_off()

    def boot(self) -> None:
        """Do all that a machine does whose power comes back."""
        self.power_on()
        self.add_outside()
        self.start_switch()
        if self.central is not None:
            self.central.start()
        self.start_controller()
        self.start_plugin()
        if self.has_docker:
            self.start_docker()
            self.warm_docker_up()

    @property
    def daemons(self) -> dict[str, Daemon]:
        """Those of a bed and those of OVN."""
        controller = {"ovn-controller": Daemon(self.controller, self.start_controller)}
        central = self.central.daemons if self.central else {}
        of_bed = super().daemons
        switch = ("ovsdb-server", "ovs-vswitchd")
        return {name: of_bed.pop(name) for name in switch} | central | controller | of_bed

    def start_ovsdb(self) -> None:
        """Start ovsdb-server, and have it say who the host is."""
        super().start_ovsdb()
        named = (f"external-ids:{key}={self.system_id}" for key in ("system-id", "hostname"))
        self.ovs_vsctl("--no-wait", "set", "Open_vSwitch", ".", *named)

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd; the device with the underlay's address is new each time."""
        super().start_vswitchd()
        nic = NICS[UNDERLAY]
        mac = self.run("cat", f"/sys/class/net/{nic}/address")
        bridge = ("datapath_type=netdev", "fail-mode=standalone", f'other_config:hwaddr="{mac}"')
        self.ovs_vsctl(
            *("--may-exist", "add-br", PHYSICAL, "--", "set", "Bridge", PHYSICAL, *bridge),
            *("--", "--may-exist", "add-port", PHYSICAL, nic),
        )
        self.run("ethtool", "-K", PHYSICAL, "tx", "off")
        self.ip("address", "replace", f"{self.address}/24", "dev", PHYSICAL)
        self.ip("link", "set", PHYSICAL, "up")

    def start_controller(self) -> None:
        """Start ovn-controller; what it does then can be seen in the southbound database."""
        self.run("mkdir", "-p", "/run/ovn")
        self.run("rm", "-f", _CONTROL)
        self.controller.start()
        until(
            lambda: self.attempt("ovs-appctl", "-T", "5", "-t", _CONTROL, "version").code == 0,
            lambda: f"ovn-controller answers\n{self.controller.said()[-2000:]}",
        )

    def look_to(self, centre: Centre) -> None:
        """Tell OVN and our process of the fleet's servers; ours is not restarted for it."""
        ids = {
            "ovn-remote": f'"{centre.remote(SOUTH)}"',
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": self.address,
            "ovn-bridge-datapath-type": "netdev",
            "ovn-ofctrl-wait-before-clear": "2000",
            "ovn-remote-probe-interval": "1500",
        }
        named = (f"external-ids:{key}={value}" for key, value in ids.items())
        self.ovs_vsctl("--no-wait", "set", "Open_vSwitch", ".", *named)
        if self.central is not None:
            self.central.look_to(centre)
        self.settings.write_text(self._northbound(centre) + self._settings)

    def _northbound(self, centre: Centre) -> str:
        """Return the part of our configuration that says where the northbound database is."""
        said: dict[str, object] = {"ovn_northbound": centre.servers(NORTH)}
        if self.identity is not None:
            said["ovn_private_key"] = str(self.identity.key)
            said["ovn_certificate"] = str(self.identity.certificate)
            said["ovn_ca"] = str(self.identity.authority)
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())

    def _controller(self) -> tuple[str, ...]:
        return (
            *("ovn-controller", "unix:/run/openvswitch/db.sock", f"--unixctl={_CONTROL}"),
            *("-vconsole:info", "-vsyslog:off"),
            *(self.identity.flags() if self.identity else ()),
        )
