"""Settings from file, environment and flags; the only reader of ``os.environ``."""

from dataclasses import dataclass
from pathlib import Path

from netaddr import IPNetwork

from ovsdriver.domain.model import Datapath


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultPool:
    """Where automatic pools come from: subnets of length ``size`` out of ``base``."""

    base: IPNetwork
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured."""

    plugin_dir: Path = Path("/run/docker/plugins")
    run_dir: Path = Path("/run/ovsnet")
    state_dir: Path = Path("/var/lib/ovsnet")
    ovsdb: str = "unix:/run/openvswitch/db.sock"
    """``unix:PATH`` or ``tcp:HOST:PORT``."""
    docker: str = "unix:///run/docker.sock"
    """Docker's API, read in the background for names and orphans."""
    instance: str = "ovsnet"
    """Names our marks and our nftables table: two instances in one namespace need two names."""
    bridge: str = "br-ovsnet"
    """The bridge of networks that name none."""
    datapath: Datapath | None = None
    """None: ``system`` where the kernel has openvswitch, else ``netdev``."""
    vlans: tuple[int, int] = (1, 4094)
    """First and last tag for automatic choice on our own bridges."""
    mtu: int = 1500
    spaces: tuple[str, ...] = ()
    """Each NAME is also served as IPAM driver ``ovsipam-NAME`` with that default space."""
    pools: tuple[DefaultPool, ...] = (
        DefaultPool(base=IPNetwork("172.24.0.0/13"), size=24),
        DefaultPool(base=IPNetwork("10.128.0.0/9"), size=24),
        DefaultPool(base=IPNetwork("fd6f:7673::/32"), size=64),
    )
    exclude: tuple[IPNetwork, ...] = ()
    """Never given out by automatic choice."""
    outside_bridges: tuple[str, ...] = ()
    """Linux bridges that lead outside (an uplink's) rather than to other containers."""
    deadline_s: float = 10.0
    """For each call of Docker's."""
    log_level: str = "info"
