"""firewalld in a world of its own: the real one, with a system bus."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.world import Program, World, until


@contextmanager
def running(world: World) -> Iterator[None]:
    """Run firewalld with its default configuration; what is changed is the world's own."""
    world.run("mkdir", "-p", "/run/dbus")
    bus = Program(world, "dbus", "dbus-daemon", "--system", "--nofork", "--nopidfile")
    words = ("--nofork", "--nopid", "--log-target=console")
    daemon = Program(world, "firewalld", "firewalld", *words)
    bus.start()
    until(lambda: world.attempt("test", "-S", "/run/dbus/system_bus_socket").code == 0, bus.said)
    daemon.start()
    until(
        lambda: world.attempt("firewall-cmd", "--state").out == "running" or not daemon.running,
        daemon.said,
        timeout_s=60,
    )
    assert daemon.running, daemon.said()
    try:
        yield
    finally:
        daemon.stop()
        bus.stop()
