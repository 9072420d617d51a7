"""How much a container may send and be sent, and how bad its link is made. Pure."""

from dataclasses import dataclass, replace

from ovsdriver.domain.records.options.flows import Flow, Match, Meter, PortFlows, Stage
from ovsdriver.domain.records.options.port_options import UNMARKED, Cable, PortOptions, Rate
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import InvalidOptionError, UnsupportedError

_BURST_S = 0.05
"""Without ``ovs.burst``, what a full rate sends in that time may go at once."""
_LEAST_BURST = 32 * 1024
"""Bytes: a packet of the largest MTU in use, and what interrupts at low rates bunch together."""
_QUEUE_S = 0.05
"""A packet that would wait longer than that is dropped."""


_PACKET = 1500
"""Bytes of a large one."""
_IPV4, _IPV6 = 0x0800, 0x86DD

NO_NETEM = (
    "a bad link (ovs.delay and the like): this host's kernel has no netem; load it "
    "(modprobe sch_netem; on Ubuntu: linux-modules-extra), or leave it out"
)
"""What is said where one is asked for."""

NO_QUEUES = (
    "ovs.uplink_rate: this host's kernel has no queues by mark; load them (modprobe -a sch_htb "
    "cls_u32), or leave the option out"
)
"""Likewise."""

_FEW_PACKETS = 25
_MOST_PACKETS = {Datapath.SYSTEM: 1000, Datapath.NETDEV: _FEW_PACKETS}
"""What may wait in a queue of an uplink, if the rate sends it soon enough.

The userspace datapath sends all that it sends anywhere through one socket, whose buffer
(net.core.wmem_default) what waits fills: at some 50 packets nothing goes out any more, whatever its
marks.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkShape:
    """What is done to what leaves a link; all zero: nothing."""

    rate: int = 0
    """bit/s."""
    burst: int = 0
    """Bytes that may go at once."""
    queue: int = 0
    """Bytes that may wait; packets in each queue, of queues by mark."""
    delay_us: int = 0
    jitter_us: int = 0
    loss_ppm: int = 0
    """Packets lost of a million; likewise the following."""
    corrupt_ppm: int = 0
    duplicate_ppm: int = 0
    reorder_ppm: int = 0
    by_mark: bool = False
    """Above the rate, what goes first is decided by its mark (DSCP): 40 and above go first, CS1
    and LE last. Each of the three queues gets a part of the rate in any case. Nothing else is
    done then."""

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return bool(self.rate) or self.by_mark or self.impaired

    @property
    def impaired(self) -> bool:
        """Whether it takes netem."""
        return replace(self, rate=0, burst=0, queue=0, by_mark=False) != LinkShape()


def sends(rate: int) -> str:
    """Return in words how much an uplink sends, of a rate in bit/s."""
    return f"sends {rate / 1e6:g} Mbit/s at most"


def of_uplink(rate: int, datapath: Datapath) -> LinkShape:
    """Return how a NIC is shaped that sends ``rate`` at most, in bit/s; 0: any rate, unsorted."""
    if not rate:
        return LinkShape()
    soon = int(rate / 8 * _QUEUE_S) // _PACKET
    queue = min(max(soon, _FEW_PACKETS), _MOST_PACKETS[datapath])
    return LinkShape(rate=rate // 8 * 8, queue=queue, by_mark=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """What a meter lets pass."""

    rate: int
    """kbit/s."""
    burst: int
    """kbit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """What holds for one container, its own or its network's."""

    rate: Rate | None = None
    burst: int | None = None
    broadcast: int | None = None
    """Packets/s to more than one station."""
    away: LinkShape = LinkShape()
    """What is done in the container to what it sends; its rate is the switch's."""
    unplugged: bool = False
    dscp: int | None = None
    """What it sends is marked so."""

    @classmethod
    def of(cls, port: PortOptions) -> "Shaping":
        """Return what is done for a port with such options."""
        return cls(
            rate=port.rate,
            burst=port.burst,
            broadcast=port.broadcast or None,
            away=LinkShape(
                delay_us=port.delay_us or 0,
                jitter_us=port.jitter_us or 0,
                loss_ppm=port.loss_ppm or 0,
                corrupt_ppm=port.corrupt_ppm or 0,
                duplicate_ppm=port.duplicate_ppm or 0,
                reorder_ppm=port.reorder_ppm or 0,
            ),
            unplugged=port.cable is Cable.DOWN,
            dscp=None if port.dscp == UNMARKED else port.dscp,
        )

    @property
    def towards(self) -> LinkShape:
        """Return what is done to what is sent to the container."""
        rate = (self.rate.towards or 0) // 8 * 8 if self.rate is not None else 0
        burst = self._burst(rate) if rate else 0
        return replace(self.away, rate=rate, burst=burst, queue=burst + int(rate / 8 * _QUEUE_S))

    @property
    def sent(self) -> "Metered | None":
        """Return what holds what it sends to its rate; None: nothing does."""
        if self.rate is None or not self.rate.away:
            return None
        rate, burst = self.rate.away, self._burst(self.rate.away)
        return Metered(rate=max(rate // 1000, 1), burst=max(burst * 8 // 1000, 1))

    @property
    def metered(self) -> PortFlows:
        """Return the flows and meters that hold what it sends to its rates, and mark it."""
        flows: set[Flow] = set()
        meters: set[Meter] = set()
        if (sent := self.sent) is not None:
            flows.add(Flow(stage=Stage.RATE, rank=0, metered=True))
            meters.add(Meter(stage=Stage.RATE, rate=sent.rate, burst=sent.burst))
        if self.broadcast is not None:
            to_many = Match(to_group=True)
            flows.add(Flow(stage=Stage.BROADCAST, rank=0, metered=True, match=to_many))
            meters.add(
                Meter(
                    stage=Stage.BROADCAST,
                    rate=self.broadcast,
                    burst=self.broadcast,
                    packets=True,
                )
            )
        if self.dscp is not None:
            flows |= {
                Flow(stage=Stage.MARK, rank=0, match=Match(eth_type=each), dscp=self.dscp)
                for each in (_IPV4, _IPV6)
            }
        return PortFlows(flows=frozenset(flows), meters=frozenset(meters))

    def _burst(self, rate: int) -> int:
        return self.burst or max(int(rate / 8 * _BURST_S), _LEAST_BURST)


def check(shaping: Shaping, *, mtu: int, internal: bool) -> None:
    """Refuse what cannot be done.

    Args:
        shaping: what is asked for.
        mtu: of the container's interface, in bytes.
        internal: it is plugged in by an internal port.

    Raises:
        InvalidOptionError: options contradict each other.
        UnsupportedError: its kind of port cannot do it.
    """
    if shaping.burst is not None and shaping.rate is None:
        raise InvalidOptionError(
            "ovs.burst needs ovs.rate, which is not set; add ovs.rate=100mbit, or leave ovs.burst "
            "out"
        )
    if shaping.burst is not None and shaping.burst < mtu:
        raise InvalidOptionError(
            f"ovs.burst={shaping.burst}: no packet of the MTU, {mtu} bytes, would get through; "
            "choose more"
        )
    if shaping.away.reorder_ppm and not shaping.away.delay_us:
        raise InvalidOptionError(
            "ovs.reorder lets packets overtake those that ovs.delay holds, and there is none; add "
            "ovs.delay=10ms"
        )
    if shaping.away.jitter_us > shaping.away.delay_us:
        raise InvalidOptionError(
            "ovs.jitter is more than ovs.delay, which it shortens and lengthens; set an ovs.delay "
            "of at least as much"
        )
    if internal and (shaping.towards or shaping.away or shaping.unplugged):
        raise UnsupportedError(
            "ovs.link=down, rates, delays and losses need a veth pair, and ovs.port=internal has "
            "none; leave them out, or use ovs.port=veth"
        )
