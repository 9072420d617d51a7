"""Whether this kernel has Open vSwitch's datapath."""

from pathlib import Path

_MODULE = Path("/sys/module/openvswitch")


def kernel_has_openvswitch() -> bool:
    """Whether the openvswitch module is loaded.

    ``datapath_types`` in the database does not tell: vswitchd lists ``system`` there as soon as
    it was built with it. A kernel with openvswitch built in has no such folder; there the
    configuration says ``datapath = "system"``.
    """
    return _MODULE.is_dir()
