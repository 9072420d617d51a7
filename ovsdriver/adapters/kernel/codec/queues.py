"""Three queues of one link by the mark (DSCP) of what is sent: htb, with a filter for each mark.

Of all disciplines that put one class before another htb alone is in kernels of every kind, and it
has the rate besides, without which a queue forms past us. Structures are those of
linux/pkt_sched.h and linux/pkt_cls.h.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ovsdriver.adapters.kernel.codec.disciplines import (
    ETHERNET,
    KIND,
    OPTIONS,
    ROOT,
    TCMSG,
    TICK_NS,
    Discipline,
    add,
    make,
    remove,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RouteSocket,
    attribute,
    attributes,
    read_u32,
    text,
    u32,
)
from ovsdriver.domain.records.options.shaping import LinkShape

HANDLE = 0x0F5C_0000
_ALL = HANDLE | 0xF
"""The class with the rate of all, in which the others are."""


@dataclass(frozen=True, slots=True)
class _Queue:
    handle: int
    share: float
    """Of the rate, which it has whatever the others send; what is left goes by turn."""
    marks: tuple[tuple[int, int], ...] = ()
    """Of the DSCP: value and mask."""


_QUEUES = (
    _Queue(HANDLE | 1, 0.80, ((0b110000, 0b110000), (0b101000, 0b111000))),  # 40 and above
    _Queue(HANDLE | 2, 0.10),
    _Queue(HANDLE | 3, 0.01, ((0b001000, 0b111111), (0b000001, 0b111111))),  # CS1, LE
)
"""In their turn."""
_OTHERS = 2
"""The queue of what no filter names."""

_NEW_CLASS, _GET_CLASS, _NEW_FILTER, _GET_FILTER = 40, 42, 44, 46
_FILTERS = 1 << 16 | 0x0300
"""Their preference, and ETH_P_ALL in the order of the net: a tag changes what is asked for."""
_GLOBAL = struct.Struct("=IIIII")
_CLASS = struct.Struct("=BBHhHI BBHhHI IIIII")
_PARAMETERS, _INIT, _RATE64, _CEILING64 = 1, 2, 6, 7
_QUANTUM = 60_000
_BURST_S, _LEAST_BURST = 0.002, 4096
_U32, _U64 = struct.Struct("=I"), struct.Struct("=Q")
_MOST = 0xFFFF_FFFF

_SELECTOR = struct.Struct(">BBBxHHhhI")
_KEY = struct.Struct("!II")
_AT = struct.Struct("=ii")
_CLASS_OF, _SELECT = 1, 5
_TERMINAL = 1
_IPV4, _IPV6 = 0x0800, 0x86DD
_MARK_AT = {_IPV4: 18, _IPV6: 22}
"""Where the lowest bit of the DSCP is in the first word of a packet."""


def put(routes: RouteSocket, index: int, wanted: LinkShape) -> None:
    """Give a link its queues, which it does not have; it has no others.

    Raises:
        NoSuchKindError: the kernel lacks htb, head drop or u32; nothing is left of them.
    """
    add(routes, index, HANDLE, ROOT, "htb", attribute(_INIT, _GLOBAL.pack(3, 10, _OTHERS, 0, 0)))
    try:
        bytes_s = wanted.rate // 8
        _put_class(routes, index, _ALL, HANDLE, bytes_s, bytes_s, 0)
        for turn, each in enumerate(_QUEUES):
            _put_class(routes, index, each.handle, _ALL, int(bytes_s * each.share), bytes_s, turn)
            # A packet that finds its queue full pushes the oldest one out. Were it refused itself,
            # vswitchd would throw away all that it was sending with it, whatever its marks.
            limit = _U32.pack(wanted.queue)
            add(routes, index, 0, each.handle, "pfifo_head_drop", limit)
        for handle, keys in _filters():
            _put_filter(routes, index, handle, keys)
    except BaseException:
        remove(routes, index)
        raise


def read(routes: RouteSocket, found: Iterable[Discipline]) -> LinkShape:
    """Return what the queues of one link do; without a rate if they are not as we made them."""
    present = list(found)
    index = next(each.index for each in present if each.handle == HANDLE)
    classes = dict(_classes(routes, index))
    leaves = {each.parent: each.options for each in present if each.kind == "pfifo_head_drop"}
    queues = {each.handle for each in _QUEUES}
    whole = (
        classes.keys() == queues | {_ALL}
        and leaves.keys() == queues
        and len(set(leaves.values())) == 1
        and sorted(_told_filters(routes, index)) == sorted(_filters())
    )
    if not whole:
        return LinkShape(by_mark=True)
    (queue,) = _U32.unpack_from(leaves[_QUEUES[0].handle])
    return LinkShape(by_mark=True, rate=classes[_ALL] * 8, queue=queue)


def _put_class(
    routes: RouteSocket, index: int, handle: int, parent: int, rate: int, ceiling: int, turn: int
) -> None:
    burst = max(_LEAST_BURST, int(ceiling * _BURST_S))
    parameters = _CLASS.pack(
        *(0, ETHERNET, 0, -1, 0, min(rate, _MOST)),
        *(0, ETHERNET, 0, -1, 0, min(ceiling, _MOST)),
        *(_ticks(burst, rate), _ticks(burst, ceiling), _QUANTUM, 0, turn),
    )
    options = (
        attribute(_PARAMETERS, parameters)
        + attribute(_RATE64, _U64.pack(rate))
        + attribute(_CEILING64, _U64.pack(ceiling))
    )
    body = TCMSG.pack(0, index, handle, parent, 0)
    body += text(KIND, "htb") + attribute(OPTIONS, options)
    make(routes, _NEW_CLASS, body, "htb", flags=NLM_F_CREATE | NLM_F_EXCL)


def _ticks(burst: int, rate: int) -> int:
    return min(int(burst * 1e9 / max(rate, 1) / TICK_NS), _MOST)


def _classes(routes: RouteSocket, index: int) -> Iterator[tuple[int, int]]:
    """Yield each class of a link, and its rate in bytes/s."""
    for message in routes.dump(_GET_CLASS, TCMSG.pack(0, index, 0, 0, 0)):
        handle = TCMSG.unpack_from(message)[2]
        told = attributes(attributes(message, TCMSG.size).get(OPTIONS, b""))
        if _RATE64 in told:
            (rate,) = _U64.unpack_from(told[_RATE64])
        elif _PARAMETERS in told:
            rate = _CLASS.unpack_from(told[_PARAMETERS])[5]
        else:
            rate = 0
        yield handle, rate


def _filters() -> Iterator[tuple[int, bytes]]:
    """Yield the class and the keys of each filter: the kind of packet before it, and its mark.

    The word before the packet ends with its kind, whether or not there is a tag before that.
    """
    for queue in _QUEUES:
        for value, mask in queue.marks:
            for kind, at in _MARK_AT.items():
                before = _KEY.pack(0xFFFF, kind) + _AT.pack(-4, 0)
                mark = _KEY.pack(mask << at, value << at) + _AT.pack(0, 0)
                yield queue.handle, before + mark


def _put_filter(routes: RouteSocket, index: int, handle: int, keys: bytes) -> None:
    selector = _SELECTOR.pack(_TERMINAL, 0, len(keys) // 16, 0, 0, 0, 0, 0) + keys
    options = u32(_CLASS_OF, handle) + attribute(_SELECT, selector)
    body = TCMSG.pack(0, index, 0, HANDLE, _FILTERS)
    body += text(KIND, "u32") + attribute(OPTIONS, options)
    make(routes, _NEW_FILTER, body, "u32", flags=NLM_F_CREATE | NLM_F_EXCL)


def _told_filters(routes: RouteSocket, index: int) -> Iterator[tuple[int, bytes]]:
    for message in routes.dump(_GET_FILTER, TCMSG.pack(0, index, 0, HANDLE, 0)):
        told = attributes(attributes(message, TCMSG.size).get(OPTIONS, b""))
        if _CLASS_OF in told and _SELECT in told:
            yield read_u32(told[_CLASS_OF]), told[_SELECT][_SELECTOR.size :]
