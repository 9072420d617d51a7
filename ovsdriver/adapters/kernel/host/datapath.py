"""What this kernel has for Open vSwitch's datapaths."""

from pathlib import Path

from ovsdriver.adapters.kernel.sysctls import Sysctls

_RECEIVE_BUFFER = "net/core/rmem_default"
_MODULE = Path("/sys/module/openvswitch")


def kernel_has_openvswitch() -> bool:
    """Whether the openvswitch module is loaded.

    ``datapath_types`` in the database does not tell: vswitchd lists ``system`` there as soon as
    it was built with it. A kernel with openvswitch built in has no such folder; there the
    configuration says ``datapath = "system"``.
    """
    return _MODULE.is_dir()


def default_receive_buffer() -> int | None:
    """Return the bytes that a socket holds which asks for no size; None if that cannot be read.

    The userspace datapath reads each port through such a socket. It is one value for the whole
    kernel; some kernels show it in the host's own network namespace only.
    """
    value = Sysctls().read(_RECEIVE_BUFFER)
    return None if value is None else int(value)
