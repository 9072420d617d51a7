"""Offload features of links by ioctl, in the namespace of the calling thread.

The old one-feature commands of linux/ethtool.h do what ``ethtool -K`` does for them, in 20 µs.
The kernel answers with the features in force, not with those asked for.
"""

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM = 0x16
_ETHTOOL_STXCSUM = 0x17
_ETHTOOL_GTSO = 0x1E

_VALUE = struct.Struct("=II")
"""struct ethtool_value: command and data."""
_IFREQ = struct.Struct("@16sP16x")


def tx_checksum(link: str) -> bool:
    """Whether checksums of sent packets are left to the other side; OSError if no such link."""
    return _ask(link, _ETHTOOL_GTXCSUM) != 0


def set_tx_checksum(link: str, *, on: bool) -> None:
    """Do ``ethtool -K LINK tx on|off``. TCP segmentation offload goes and comes with it."""
    _ask(link, _ETHTOOL_STXCSUM, int(on))


def tcp_segmentation(link: str) -> bool:
    """Whether TCP segmentation offload of any kind is in force; OSError if no such link."""
    return _ask(link, _ETHTOOL_GTSO) != 0


def _ask(link: str, command: int, data: int = 0) -> int:
    value = ctypes.create_string_buffer(_VALUE.pack(command, data), _VALUE.size)
    request = _IFREQ.pack(link.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    answer: int = _VALUE.unpack(value.raw)[1]
    return answer
