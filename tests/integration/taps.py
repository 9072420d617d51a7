"""Taps as vswitchd makes them: a process holds the device, which outlives the process."""

import fcntl
import os
import struct

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP = 0x2
_IFF_NO_PI = 0x1000


def held_tap(name: str) -> int:
    """Make a tap in the thread's namespace, or take one up; returns the handle that holds it."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    fcntl.ioctl(handle, _TUNSETPERSIST, 1)
    return handle
