"""Which forwarding switches of the kernel to turn on, in which order, and how to put them back.

A gateway needs the host to forward. The switches everybody knows, ``net.ipv4.ip_forward`` and
``net.ipv6.conf.all.forwarding``, are not ours to turn on: they make the host a router between
all its links, and a dockerd that finds ``ip_forward`` on does not set the policy DROP that
protects its own networks (moby, drivers/bridge/setup_ip_forwarding.go). So, by family:

IPv4: ``conf.LINK.forwarding`` decides for what arrives at LINK (``IN_DEV_FORWARD`` in
net/ipv4/route.c). It is set on our gateways and on the outgoing links, where the answers arrive.

IPv6, Linux 6.17 and newer: ``conf.LINK.force_forwarding`` does the same, and leaves the link a
host towards routers (it goes on listening to router advertisements).

IPv6, older: only the global switch makes ip6_forward() forward at all. So it is turned on, after
``accept_ra=2`` on the outgoing links (turning it on deletes the default routes that were learned
from advertisements elsewhere, ``rt6_purge_dflt_routers``), and at once every other link, and the
default for new ones, is set back to being a host: forwarding does not ask them. That the default
is off again has a second use: whoever turns the global switch on for himself, dockerd included,
turns the default on with it, by which he is recognised, and by which dockerd (since 28) sees that
forwarding was off and protects its networks.

What was not forwarded before is kept so by a guard in our table, which stands before a switch is
turned and until after it is turned back. It is lifted as soon as someone else turns the global
switch on: then the host is a router by his will, and a link that he takes out of it stays out.

Gateways are our own devices and take their switches with them; of all other links the old value
is noted durably before it is changed. Everything here is pure: ``decide`` returns steps.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules, Guard

NOTE = "sysctl:"
"""Before the path of a switch in the key of a note; the note's value is the old value."""

BOOT_NOTE = "sysctl-boot"
"""The boot during which the notes were made: a reboot puts everything back by itself."""

IP_FORWARD = "net/ipv4/ip_forward"
ALL6 = "net/ipv6/conf/all/forwarding"
DEFAULT6 = "net/ipv6/conf/default/forwarding"
FORCE6 = "net/ipv6/conf/lo/force_forwarding"
"""Of ``lo``, which nobody has a reason to switch alone: it follows when ``all`` is turned on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Remember, durably, before the next step."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Forget a note, after the step before it."""

    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Write a switch; one that is gone with its link needs no writing."""

    path: str
    value: str


Step = Note | Forget | Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """What to do around the change of our table."""

    before: tuple[Step, ...] = ()
    """Turn back what no network needs any more, while the old guard still stands."""
    guard: Guard = field(default_factory=Guard)
    after: tuple[Step, ...] = ()
    """Turn on what is needed; the guard stands by then."""

    @property
    def writes(self) -> bool:
        """Whether any switch is to be changed."""
        return any(isinstance(step, Write) for step in (*self.before, *self.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The kernel's switches as read, and what is known of them."""

    values: Mapping[str, str]
    """By path below ``/proc/sys``, without the newline; a path that does not exist is absent."""
    notes: Mapping[str, str]
    boot: str = ""
    """Identity of this boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Where packets of each family are to be forwarded."""

    plan: FirewallPlan
    outgoing4: frozenset[str] = frozenset()
    outgoing6: frozenset[str] = frozenset()


def forwarding4(link: str) -> str:
    """Return the path of a link's IPv4 switch."""
    return f"net/ipv4/conf/{link}/forwarding"


def route_localnet(link: str) -> str:
    """Return the path of a link's switch for packets from and to 127.0.0.0/8."""
    return f"net/ipv4/conf/{link}/route_localnet"


def forwarding6(link: str) -> str:
    """Return the path of a link's IPv6 "I am a router" switch."""
    return f"net/ipv6/conf/{link}/forwarding"


def force6(link: str) -> str:
    """Return the path of a link's IPv6 switch on Linux 6.17 and newer."""
    return f"net/ipv6/conf/{link}/force_forwarding"


def accept_ra(link: str) -> str:
    """Return the path of a link's switch for router advertisements; 2: even when forwarding."""
    return f"net/ipv6/conf/{link}/accept_ra"


def noted(notes: Mapping[str, str]) -> frozenset[str]:
    """Return the paths of the switches that notes speak of."""
    return frozenset(key.removeprefix(NOTE) for key in notes if key.startswith(NOTE))


def paths(wanted: Wanted, notes: Mapping[str, str], *, gateways: Iterable[str]) -> frozenset[str]:
    """Return what ``decide`` must know.

    ``gateways`` are those to look at: one whose switches are not known is left as it is. Where
    ``hosts_matter``, every link's ``forwarding6`` comes on top.
    """
    found = {IP_FORWARD, ALL6, DEFAULT6, FORCE6, *noted(notes)}
    found.update(map(forwarding4, wanted.outgoing4))
    for link in wanted.outgoing6:
        found |= {force6(link), accept_ra(link), forwarding6(link)}
    for link in gateways:
        found |= {forwarding4(link), force6(link), route_localnet(link)}
    return frozenset(found)


def hosts_matter(wanted: Wanted, switches: Switches) -> bool:
    """Whether ``decide`` needs every link's ``forwarding6``: the old global switch may turn."""
    values, notes = switches.values, switches.notes
    if FORCE6 in values or ALL6 not in values:
        return False
    if not wanted.plan.carries(6):
        return f"{NOTE}{ALL6}" in notes
    return values[ALL6] == "0" or f"{NOTE}{DEFAULT6}" not in notes


def decide(wanted: Wanted, switches: Switches) -> Forwarding:
    """Return the steps from what is to what ``wanted`` needs; none if it is so already."""
    notes = switches.notes
    stale: list[Step] = []
    if notes.get(BOOT_NOTE, switches.boot) != switches.boot:
        # The kernel began anew with the values it is configured with: those notes are history.
        stale = [Forget(key=f"{NOTE}{path}") for path in sorted(noted(notes))]
        notes = {}
    world = _World(switches.values, {path: notes[f"{NOTE}{path}"] for path in noted(notes)})
    _decide4(wanted, world)
    if FORCE6 in world.values:
        _decide6(wanted, world)
    elif ALL6 in world.values:
        _decide6_globally(wanted, world)
    before, after = [*stale, *world.before], world.after
    if any(isinstance(step, Note) for step in after) and notes.get(BOOT_NOTE) != switches.boot:
        after.insert(0, Note(key=BOOT_NOTE, value=switches.boot))
    elif not _remaining(world.notes, [*before, *after]) and BOOT_NOTE in switches.notes:
        before.append(Forget(key=BOOT_NOTE))
    guard = Guard(
        ipv4=frozenset(world.guard4),
        ipv6=frozenset(world.guard6),
        ipv6_everywhere=world.everywhere6,
    )
    return Forwarding(before=tuple(before), guard=guard, after=tuple(after))


class _World:
    """What is known, and what was decided so far."""

    def __init__(self, values: Mapping[str, str], notes: Mapping[str, str]) -> None:
        self.values = values
        self.notes = notes
        self.before: list[Step] = []
        self.after: list[Step] = []
        self.guard4: set[str] = set()
        self.guard6: set[str] = set()
        self.everywhere6 = False

    def forget(self, path: str) -> None:
        """Leave a switch as it is, for it is no longer ours to put back."""
        if path in self.notes:
            self.before.append(Forget(key=f"{NOTE}{path}"))

    def put_back(self, path: str, ours: str) -> None:
        """Restore a switch that we set to ``ours``, unless it has another value by now."""
        if path not in self.notes:
            return
        if self.values.get(path) == ours:
            self.before.append(Write(path=path, value=self.notes[path]))
        self.forget(path)

    def turn_on(self, path: str, value: str) -> None:
        """Set a switch of a link that is not ours."""
        if path not in self.notes:
            self.after.append(Note(key=f"{NOTE}{path}", value=self.values[path]))
        self.after.append(Write(path=path, value=value))

    def turn_on_ours(self, paths: Iterable[str]) -> None:
        """Set switches of gateways, as far as they exist."""
        self.after.extend(
            Write(path=path, value="1") for path in paths if self.values.get(path) == "0"
        )

    def settle_loopback(self, gateway: GatewayRules) -> None:
        """Let packets of 127.0.0.0/8 leave by a gateway, or no more, if it exists.

        The table drops what arrives with such an address, so it stands around this.
        """
        path = route_localnet(gateway.link)
        wanted = "1" if gateway.loopback else "0"
        if self.values.get(path, wanted) != wanted:
            steps = self.after if gateway.loopback else self.before
            steps.append(Write(path=path, value=wanted))

    def noted_links(self, path: str) -> Iterator[str]:
        """Return the links of notes whose paths look like ``path``, which has ``*`` for it."""
        start, end = path.split("*")
        for each in sorted(self.notes):
            link = each.removeprefix(start).removesuffix(end)
            if f"{start}{link}{end}" == each and "/" not in link and link not in _NO_LINKS:
                yield link


_NO_LINKS = ("all", "default")


def _decide4(wanted: Wanted, world: _World) -> None:
    plan = wanted.plan
    for gateway in plan.gateways:
        world.settle_loopback(gateway)
    world.turn_on_ours(forwarding4(gateway.link) for gateway in plan.gateways if gateway.carries(4))
    needed = wanted.outgoing4 if plan.carries(4) else frozenset()
    anyway = world.values.get(IP_FORWARD) == "1"
    for link in sorted({*needed, *world.noted_links(forwarding4("*"))}):
        path = forwarding4(link)
        if anyway:
            # Turning the global switch on or off sets every link's: the old value is no more.
            world.forget(path)
        elif link not in needed:
            world.put_back(path, "1")
        elif _switch_link(world, path):
            world.guard4.add(link)


def _decide6(wanted: Wanted, world: _World) -> None:
    plan = wanted.plan
    world.turn_on_ours(force6(gateway.link) for gateway in plan.gateways if gateway.carries(6))
    needed = wanted.outgoing6 if plan.carries(6) else frozenset()
    forced = world.values.get(FORCE6) == "1"
    anyway = forced or world.values.get(ALL6) == "1"
    for link in sorted({*needed, *world.noted_links(force6("*"))}):
        path = force6(link)
        if forced:
            world.forget(path)
        elif anyway or link not in needed:
            # Unlike IPv4's, this switch is not set with the global one. Turning that off turns
            # this off, too, and then we are here again.
            world.put_back(path, "1")
        elif _switch_link(world, path):
            world.guard6.add(link)


def _switch_link(world: _World, path: str) -> bool:
    """Turn a link's switch on if it is off; True if it is on by us and needs a guard."""
    value = world.values.get(path)
    if value == "0":
        world.turn_on(path, "1")
    elif value is None:
        world.forget(path)
    return value == "0" or (value == "1" and path in world.notes)


def _decide6_globally(wanted: Wanted, world: _World) -> None:
    values, notes = world.values, world.notes
    on = values[ALL6] == "1"
    ours = on and ALL6 in notes and notes.get(DEFAULT6, values[DEFAULT6]) == values[DEFAULT6]
    # The last step of turning it on is the note of the default: without it, it was cut short.
    complete = ours and DEFAULT6 in notes
    if wanted.plan.carries(6) and (ours or not on):
        world.everywhere6 = True
        for link in sorted(wanted.outgoing6):
            if values.get(accept_ra(link)) == "1" and values.get(forwarding6(link)) == "0":
                world.turn_on(accept_ra(link), "2")
        if not complete:
            _turn_on_everywhere(world)
        return
    if ours:
        world.before.append(Write(path=ALL6, value="0"))
        if complete:
            # Whoever is a router now was one before us.
            routers = [p for p in (*_every_forwarding6(values), DEFAULT6) if values[p] == "1"]
            world.before.extend(Write(path=path, value="1") for path in routers)
        world.forget(DEFAULT6)
        world.forget(ALL6)
        for link in world.noted_links(accept_ra("*")):
            world.put_back(accept_ra(link), "2")
        return
    world.forget(DEFAULT6)
    world.forget(ALL6)
    for link in world.noted_links(accept_ra("*")):
        # On by someone else: a link that goes on listening to advertisements loses nothing.
        if on:
            world.forget(accept_ra(link))
        else:
            world.put_back(accept_ra(link), "2")


def _turn_on_everywhere(world: _World) -> None:
    values = world.values
    default = "0" if values[ALL6] == "1" else values[DEFAULT6]
    if ALL6 not in world.notes:
        world.after.append(Note(key=f"{NOTE}{ALL6}", value="0"))
    world.after.append(Write(path=ALL6, value="1"))
    world.after.append(Write(path=DEFAULT6, value=default))
    # Cut short, all are routers by us, and of those that were before nothing is known any more.
    hosts = (p for p in _every_forwarding6(values) if values[p] == "0" or values[ALL6] == "1")
    world.after.extend(Write(path=path, value="0") for path in hosts)
    world.after.append(Note(key=f"{NOTE}{DEFAULT6}", value=default))


def _every_forwarding6(values: Mapping[str, str]) -> Iterator[str]:
    start, end = forwarding6("*").split("*")
    for path in sorted(values):
        if path.startswith(start) and path.endswith(end) and path not in (ALL6, DEFAULT6):
            yield path


def _remaining(notes: Mapping[str, str], steps: Iterable[Step]) -> bool:
    kept = {f"{NOTE}{path}" for path in notes}
    for step in steps:
        if isinstance(step, Forget):
            kept.discard(step.key)
        elif isinstance(step, Note):
            kept.add(step.key)
    return bool(kept)
