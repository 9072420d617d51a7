"""Containers without Docker: network namespaces, and links moved in and out as dockerd does it."""

from collections.abc import Sequence

from tests.e2e.bed import Bed


class Sandboxes:
    """Namespaces of a bed, each by a key of at most 12 characters."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._made: set[str] = set()

    @staticmethod
    def path(key: str) -> str:
        """Return what dockerd calls the namespace in Join."""
        return f"/run/netns/{key}"

    def make(self, key: str) -> str:
        """Make one, if it is not there, and return its path."""
        if key not in self._made:
            self._bed.run("ip", "netns", "add", key)
            self._made.add(key)
        return self.path(key)

    def move_in(self, key: str, source: str, prefix: str, mac: str, cidrs: Sequence[str]) -> None:
        """Move the host's link ``source`` in, with the next name of that prefix, up."""
        self._bed.run("sh", "-c", _MOVE_IN, "sh", key, source, prefix, mac, *filter(None, cidrs))

    def add_route(self, key: str, to: str, via: str) -> None:
        """Add a route by a router; on a slow machine ours may be there already."""
        self._bed.attempt("ip", "-n", key, "route", "add", to, "via", via)

    def move_out(self, key: str, mac: str, source: str) -> None:
        """Move a link out again, if it is still there, down and with its name of before."""
        if key in self._made:
            self._bed.attempt("sh", "-c", _MOVE_OUT, "sh", key, mac, source)

    def remove(self, key: str) -> None:
        """Remove one with all that is left in it."""
        if key in self._made:
            self._made.remove(key)
            self._bed.run("ip", "netns", "delete", key)

    def remove_all(self) -> None:
        """Remove every one."""
        for key in list(self._made):
            self.remove(key)


_MOVE_IN = """
set -e
sandbox=$1 source=$2 prefix=$3 mac=$4; shift 4
number=0
while ip -n "$sandbox" link show "$prefix$number" >/dev/null 2>&1; do number=$((number + 1)); done
name=$prefix$number
ip link set "$source" netns "$sandbox"
ip -n "$sandbox" link set "$source" down name "$name"
[ -z "$mac" ] || ip -n "$sandbox" link set "$name" address "$mac"
for cidr; do
    case $cidr in *:*) nodad=nodad ;; *) nodad= ;; esac
    ip -n "$sandbox" address add "$cidr" dev "$name" $nodad
done
ip -n "$sandbox" link set "$name" up
"""

_MOVE_OUT = r"""
sandbox=$1 mac=$2 source=$3
name=$(ip -n "$sandbox" -o link show | grep -F "$mac" | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p')
[ -n "$name" ] || exit 0
ip -n "$sandbox" link set "$name" down name "$source"
ip -n "$sandbox" link set "$source" netns 1
"""
