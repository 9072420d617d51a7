"""Queueing disciplines of ours: tbf for a rate, netem for delay and loss, or both; or queues.

They are known by their handles. Where both are wanted, tbf is inside of netem. Structures are
those of linux/pkt_sched.h.
"""

import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ovsdriver.adapters.kernel.codec import queues
from ovsdriver.adapters.kernel.codec.disciplines import (
    ETHERNET,
    ROOT,
    TICK_NS,
    Discipline,
    add,
    disciplines,
    remove,
)
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket, attribute, attributes
from ovsdriver.domain.records.options.shaping import LinkShape

_NETEM_HANDLE = 0x0F5A_0000
_TBF_HANDLE = 0x0F5B_0000
_OURS = {_NETEM_HANDLE, _TBF_HANDLE, queues.HANDLE}

_TBF = struct.Struct("=BBHhHI BBHhHI III")
_TBF_PARAMETERS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_NETEM = struct.Struct("=IIIIII")
_NETEM_REORDER, _NETEM_CORRUPT, _NETEM_DELAY64, _NETEM_JITTER64 = 3, 4, 10, 11
_CHANCE = struct.Struct("=II")
_NETEM_PACKETS = 100_000
"""Packets that may be on their way at once; those above are lost."""
_U64 = struct.Struct("=Q")
_U32 = struct.Struct("=I")
_ALL = 0xFFFF_FFFF


class ForeignError(Exception):
    """Somebody else has put a discipline on the link."""


def ensure(routes: RouteSocket, index: int, wanted: LinkShape) -> bool:
    """Have a link shaped as ``wanted``; False if it is.

    Raises:
        NoSuchKindError: the kernel lacks what it takes.
        ForeignError: a discipline that is not ours is in the place of ours.
    """
    present = disciplines(routes, index)
    foreign = [each.kind for each in present if each.root and each.handle not in _OURS]
    if foreign and wanted:
        raise ForeignError(foreign[0])
    before = _shape(routes, present)
    if _same(before, wanted):
        return False
    other = before.impaired != wanted.impaired or before.by_mark or wanted.by_mark
    if before and (other or not wanted):
        remove(routes, index)
        before = LinkShape()
    if wanted.by_mark:
        queues.put(routes, index, wanted)
        return True
    if wanted.impaired:
        add(routes, index, _NETEM_HANDLE, ROOT, "netem", netem(wanted))
    if wanted.rate:
        parent = _NETEM_HANDLE | 1 if wanted.impaired else ROOT
        add(routes, index, _TBF_HANDLE, parent, "tbf", _tbf(wanted))
    elif before.rate:  # inside of a netem that stays
        remove(routes, index, handle=_TBF_HANDLE, parent=_NETEM_HANDLE | 1)
    return True


def observed(routes: RouteSocket) -> Mapping[int, LinkShape]:
    """Return what of ours is on links, by their index."""
    by_index: dict[int, list[Discipline]] = {}
    for each in disciplines(routes):
        by_index.setdefault(each.index, []).append(each)
    return {
        index: _shape(routes, found)
        for index, found in by_index.items()
        if any(each.handle in _OURS for each in found)
    }


def same(one: LinkShape, other: LinkShape) -> bool:
    """Whether both are one, as far as the kernel tells: it rounds times and bursts."""
    return _same(one, other)


def _same(one: LinkShape, other: LinkShape) -> bool:
    if abs(one.burst - other.burst) * 100 > other.burst:  # told in ticks of time
        return False
    return replace(one, burst=0, loss_ppm=0) == replace(other, burst=0, loss_ppm=0) and (
        abs(one.loss_ppm - other.loss_ppm) <= 1
    )


def _shape(routes: RouteSocket, found: list[Discipline]) -> LinkShape:
    made = LinkShape()
    for each in found:
        if each.root and each.handle == queues.HANDLE and each.kind == "htb":
            return queues.read(routes, found)
        if each.handle == _TBF_HANDLE and each.kind == "tbf":
            made = replace(made, **_read_tbf(each.options))
        elif each.handle == _NETEM_HANDLE and each.kind == "netem":
            made = replace(made, **read_netem(each.options))
    return made


def _tbf(shape: LinkShape) -> bytes:
    bytes_s = shape.rate // 8
    parameters = _TBF.pack(
        *(0, ETHERNET, 0, -1, 0, min(bytes_s, _ALL)),
        *(0, 0, 0, 0, 0, 0),
        *(shape.queue, 0, 0),
    )
    return (
        attribute(_TBF_PARAMETERS, parameters)
        + attribute(_TBF_RATE64, _U64.pack(bytes_s))
        + attribute(_TBF_BURST, _U32.pack(shape.burst))
    )


def _read_tbf(options: bytes) -> dict[str, Any]:
    told = attributes(options)
    values = _TBF.unpack_from(told[_TBF_PARAMETERS])
    bytes_s, queue, ticks = values[5], values[12], values[13]
    if _TBF_RATE64 in told:
        (bytes_s,) = _U64.unpack_from(told[_TBF_RATE64])
    burst = round(ticks * TICK_NS * bytes_s / 1e9)
    return {"rate": bytes_s * 8, "queue": queue, "burst": burst}


def netem(shape: LinkShape) -> bytes:
    """Return the options of a netem that does all of ``shape`` but its rate."""
    # Without a gap nothing overtakes; of one it is each packet's chance.
    gap = 1 if shape.reorder_ppm else 0
    return (
        _NETEM.pack(0, _NETEM_PACKETS, _share(shape.loss_ppm), gap, _share(shape.duplicate_ppm), 0)
        + attribute(_NETEM_REORDER, _CHANCE.pack(_share(shape.reorder_ppm), 0))
        + attribute(_NETEM_CORRUPT, _CHANCE.pack(_share(shape.corrupt_ppm), 0))
        + attribute(_NETEM_DELAY64, _U64.pack(shape.delay_us * 1000))
        + attribute(_NETEM_JITTER64, _U64.pack(shape.jitter_us * 1000))
    )


def read_netem(options: bytes) -> dict[str, Any]:
    """Return fields of a :class:`LinkShape`, from what the kernel tells of a netem."""
    _, _, loss, _, duplicate, _ = _NETEM.unpack_from(options)
    told = attributes(options, _NETEM.size)
    delay, jitter = (
        _U64.unpack_from(told[kind])[0] // 1000 if kind in told else 0
        for kind in (_NETEM_DELAY64, _NETEM_JITTER64)
    )
    reorder, corrupt = (
        _CHANCE.unpack_from(told[kind])[0] if kind in told else 0
        for kind in (_NETEM_REORDER, _NETEM_CORRUPT)
    )
    return {
        "delay_us": delay,
        "jitter_us": jitter,
        "loss_ppm": _ppm(loss),
        "duplicate_ppm": _ppm(duplicate),
        "reorder_ppm": _ppm(reorder),
        "corrupt_ppm": _ppm(corrupt),
    }


def _share(ppm: int) -> int:
    return min(round(ppm * _ALL / 1_000_000), _ALL)


def _ppm(share: int) -> int:
    return round(share * 1_000_000 / _ALL)
