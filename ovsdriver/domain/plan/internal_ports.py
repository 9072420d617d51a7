"""What an internal port in a container cannot do, and why. Pure."""

from ovsdriver.domain.records.options.port_options import ETHERNET_MTU
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import UnsupportedError


def refuse_name(option: str, text: str, datapath: Datapath) -> None:
    """Refuse a name for the interface where it has to keep the port's.

    Raises:
        UnsupportedError: the kernel's datapath knows a port by the name of its device, so one that
            is renamed is deleted at vswitchd's next change.
    """
    if datapath is Datapath.SYSTEM:
        raise UnsupportedError(
            f"{option}={text} with ovs.port=internal: in the kernel's datapath Open vSwitch loses "
            f"an internal port that is renamed; leave {option} out, or use ovs.port=veth"
        )


def refuse_long_frames(mtu: int, datapath: Datapath) -> None:
    """Refuse what taps lose: UnsupportedError."""
    if mtu > ETHERNET_MTU and datapath is Datapath.NETDEV:
        raise UnsupportedError(
            f"ovs.mtu={mtu} with ovs.port=internal: on the userspace datapath an internal port "
            f"loses frames of more than {ETHERNET_MTU} bytes; choose at most {ETHERNET_MTU}, or "
            "ovs.port=veth"
        )
