"""The kernel's forwarding switches in memory, with what they do to each other."""

from collections.abc import Iterable, Mapping

ALL4, ALL6, FORCE = (
    "net/ipv4/conf/all/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/force_forwarding",
)


class FakeSwitches:
    """Values by path below ``/proc/sys``; all are 0, ``accept_ra`` is 1.

    Without ``force`` it is a Linux older than 6.17.
    """

    def __init__(self, links: Iterable[str], *, force: bool = True) -> None:
        self.links = tuple(links)
        self.force = force
        self.values = {"net/ipv4/ip_forward": "0"}
        for link in ("all", "default", *self.links):
            self.values[f"net/ipv4/conf/{link}/forwarding"] = "0"
            self.values[f"net/ipv4/conf/{link}/route_localnet"] = "0"
            self.values[f"net/ipv6/conf/{link}/forwarding"] = "0"
            self.values[f"net/ipv6/conf/{link}/accept_ra"] = "1"
            if force:
                self.values[f"net/ipv6/conf/{link}/force_forwarding"] = "0"

    def write(self, path: str, value: str) -> None:
        """Write one switch; KeyError if there is none such."""
        old = self.values[path]
        if path == "net/ipv4/ip_forward" or path == ALL4:
            # devinet_sysctl_forward(): only a change has consequences
            if old != value:
                self._every(4, "forwarding", value)
                self.values["net/ipv4/ip_forward"] = value
        elif path == ALL6:
            # addrconf_fixup_forwarding(): writing the same value again has them, too
            self._every(6, "forwarding", value)
            if self.force and value == "0":
                for link in self.links:
                    self.values[f"net/ipv6/conf/{link}/force_forwarding"] = "0"
        elif path == FORCE and self.force and old != value:
            # addrconf_sysctl_force_forwarding(): not the default for new links
            for link in self.links:
                self.values[f"net/ipv6/conf/{link}/force_forwarding"] = value
        self.values[path] = value

    def forwards(self, link: str, family: int) -> bool:
        """Whether packets of ``family`` that arrive at ``link`` are forwarded."""
        if family == 4:
            return self.values[f"net/ipv4/conf/{link}/forwarding"] == "1"
        own = self.values.get(f"net/ipv6/conf/{link}/force_forwarding", "0")
        return "1" in (self.values[ALL6], own)

    def snapshot(self) -> Mapping[str, str]:
        """All values as they are now."""
        return dict(self.values)

    def _every(self, family: int, leaf: str, value: str) -> None:
        for link in ("all", "default", *self.links):
            self.values[f"net/ipv{family}/conf/{link}/{leaf}"] = value
