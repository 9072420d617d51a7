"""Names that users ask for of interfaces in containers, and engines that do not give them. Pure."""

import re

INTERFACE_OPTION = "com.docker.network.endpoint.ifname"

_FIRST = (29, 8)
"""The oldest engine that takes a name from a plugin; older ones take the prefix alone."""
_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")


def given_by(version: str) -> bool:
    """Whether the engine of ``version``, such as ``26.1.5+dfsg1``, gives names asked for.

    One that does not say what it is was built by somebody from the newest source.
    """
    found = _VERSION.match(version)
    return found is None or (int(found[1]), int(found[2])) >= _FIRST


def not_given(name: str, version: str) -> str:
    """Return the sentence about a name that the engine of ``version`` does not give."""
    oldest = ".".join(map(str, _FIRST))
    return (
        f"the name {name} was asked for, and Docker {version} does not take it from a plugin; "
        f"upgrade to Docker {oldest} or newer, or use ovs.ifprefix"
    )
