"""What access rules cost: an attach, a packet past a gateway, and a container more beside many.

    python -m tests.bench.access_bench [PART...] [--quick]

Parts, all of them unless some are named: attach, traffic, members. As root, in the folder of the
tree. What is compared takes turns in one run. Prints tables and asserts nothing.
"""

import argparse
import asyncio
import random
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from threading import Thread

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.firewall.firewall import HostFirewall
from ovsdriver.domain.access.policy import AccessPlan, Judgement, Member, Policy, Reach
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.access import AccessProtocol
from tests.bench import dockerd
from tests.bench.arms import docker_of, ours
from tests.bench.dockerd import Place, cycles, subnet
from tests.bench.measured import say
from tests.fakes.firewall import MemoryNotes
from tests.integration.netns import Sandbox, inside, own_namespace, run
from tests.integration.ovs import PrivateOvs, private_ovs

PACE = dockerd.Pace(before_join_s=0.003, between_s=0.1)
TEN = ", ".join(f"to 10.9.{number}.0/24 tcp/{443 + number}" for number in range(10))
GATEWAY = "ovg000000000001"
CONTAINER, OUTSIDE = "10.77.1.2", "192.0.2.2"
PORT = 5001
BLAST_S = 0.5
PACKETS = 10_000
SETTLE_S = 0.3
"""For what the kernel does later, when a table has gone."""


def attach(ovs: PrivateOvs, *, quick: bool) -> None:
    """Time an attach without rules, with what they need (a guard), and with ten of them."""
    kinds = {
        "without": {"ovs.mode": "nat"},
        "guarded": {"ovs.mode": "nat", "ovs.guard": "true"},
        "ten rules": {"ovs.mode": "nat", "ovs.allow": TEN},
    }
    found: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        docker = docker_of(stack.enter_context(ours(ovs)))
        place = Place()
        stack.callback(place.close)
        networks = {
            name: docker.with_options(said).network(subnet()) for name, said in kinds.items()
        }
        for network in networks.values():
            cycles(network, [place], 5)
        for number in range(3 if quick else 8):
            say(f"attach: round {number + 1}")
            for name in random.sample(sorted(kinds), len(kinds)):
                networks[name].docker.samples = defaultdict(list)
                cycles(networks[name], [place], 20, PACE)
                found[name] += networks[name].docker.samples["attach"]
        for network in networks.values():
            network.delete()
    base = median(found["without"])
    for name, values in found.items():
        print(f"attach, {name}: {median(values):.1f} ms, {median(values) / base:.2f} of without")


def policy(count: int) -> Policy:
    """Return one with so many rules, the last of which lets the traffic pass."""
    reaches = [
        Reach(
            rule=f"to 11.{number // 250}.{number % 250}.0/24 tcp/{number + 1}",
            prefix=IPNetwork(f"11.{number // 250}.{number % 250}.0/24"),
            protocol=AccessProtocol.TCP,
            first_port=number + 1,
            last_port=number + 1,
        )
        for number in range(count - 1)
    ]
    last = Reach(rule=f"to {OUTSIDE}", prefix=IPNetwork(f"{OUTSIDE}/32"))
    return Policy(key=f"{count:012x}", to=Judgement(allow=(*reaches, last), closed=True))


def member(number: int, of: Policy, address: str = "") -> Member:
    return Member(
        endpoint=EndpointId(f"{number:064x}"),
        network=NetworkId("1" * 64),
        policy=of.key,
        gateway=GATEWAY,
        mac=EUI(0x02_42_00_00_00_00 + number),
        addresses=(IPAddress(address) if address else IPAddress(0x0A_42_00_00 + number),),
    )


def plan(*policies: Policy, more: Sequence[Member] = ()) -> AccessPlan:
    held = tuple(sorted(policies, key=lambda each: each.key))
    return AccessPlan(policies=held, members=(member(1, held[-1], CONTAINER), *more))


def blast(client: Sandbox, server: Sandbox) -> float:
    """Return the Gbit/s of one TCP connection, as its receiver counts."""
    listening = server.call(lambda: socket.create_server((OUTSIDE, PORT)))
    got = 0
    took = [0.0]

    def receive() -> None:
        nonlocal got
        connection, _ = listening.accept()
        began = time.perf_counter()
        buffer = bytearray(1 << 20)
        with connection:
            while count := connection.recv_into(buffer):
                got += count
        took[0] = time.perf_counter() - began

    receiving = Thread(target=receive)
    receiving.start()
    sending = client.call(lambda: socket.create_connection((OUTSIDE, PORT)))
    end, data = time.perf_counter() + BLAST_S, bytes(1 << 20)
    with sending:
        while time.perf_counter() < end:
            sending.sendall(data)
    receiving.join()
    listening.close()
    return got * 8 / took[0] / 1e9


def packet_ns(client: Sandbox, server: Sandbox) -> float:
    """Return what the processor does for one small packet, the whole way, at best."""
    sink = server.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    source = client.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    found = []
    with sink, source:
        sink.bind((OUTSIDE, PORT))
        source.connect((OUTSIDE, PORT))
        for _ in range(5):
            began = time.thread_time()
            for _ in range(PACKETS):
                source.send(b"x")
            found.append((time.thread_time() - began) / PACKETS * 1e9)
    return min(found)


async def traffic(*, quick: bool) -> None:
    """Measure one connection from a container past a gateway to a neighbour of the host."""
    with ExitStack() as stack:
        stack.enter_context(own_namespace())
        client, server = (stack.enter_context(Sandbox()) for _ in range(2))
        for host, there, at, sandbox, peer in (
            (GATEWAY, "c0", "10.77.1.1", client, CONTAINER),
            ("wan0", "o0", "192.0.2.1", server, OUTSIDE),
        ):
            run("ip", "link", "add", host, "type", "veth", "peer", "name", there)
            run("ip", "link", "set", there, "netns", sandbox.path)
            run("ip", "address", "add", f"{at}/24", "dev", host)
            run("ip", "link", "set", host, "up")
            sandbox.run("ip", "address", "add", f"{peer}/24", "dev", there)
            sandbox.run("ip", "link", "set", there, "up")
            sandbox.run("ip", "route", "add", "default", "via", at)
        run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        firewall = HostFirewall(instance="bench", notes=MemoryNotes())
        # conntrack is there with and without
        run("nft", "add table inet t; add chain inet t f { type filter hook forward priority 0; }")
        run("nft", "add rule inet t f ct state new accept")
        plans = {
            "again without": AccessPlan(),
            "rules of another container": AccessPlan(
                policies=(policy(10),), members=(member(2, policy(10)),)
            ),
            **{f"{count} rules": plan(policy(count)) for count in (10, 1000, 10000)},
        }
        ratios: dict[str, list[float]] = defaultdict(list)
        packets: dict[str, list[float]] = defaultdict(list)
        for number in range(4 if quick else 16):
            say(f"traffic: round {number + 1}")
            for name in random.sample(sorted(plans), len(plans)):
                # beside each other: what else the machine does changes from second to second
                await firewall.access.remove()
                before = await asyncio.to_thread(blast, client, server)
                await firewall.access.apply(plans[name])
                await asyncio.sleep(SETTLE_S)
                ratios[name].append(await asyncio.to_thread(blast, client, server) / before)
                packets[name].append(await asyncio.to_thread(packet_ns, client, server))
        for name in plans:
            rate, took = median(ratios[name]), min(packets[name])
            print(f"{name}: TCP {rate:.2f} of without, {took:.0f} ns of processor for a packet")
        await firewall.close()


async def members(*, quick: bool) -> None:
    """Time a container more whose rules others have, and one whose rules are its own."""
    with own_namespace():
        firewall = HostFirewall(instance="bench", notes=MemoryNotes())
        watching = asyncio.create_task(firewall.run())
        own = policy(11)
        for count in (10, 1000, 10000):
            big = policy(count)
            await firewall.access.apply(plan(big))
            for name, more in (("known", [member(2, big)]), ("own", [member(2, own)])):
                times = []
                for _ in range(20 if quick else 60):
                    with_it = plan(*{big, *([own] if name == "own" else [])}, more=more)
                    began = time.perf_counter()
                    await firewall.access.apply(with_it)
                    times.append((time.perf_counter() - began) * 1000)
                    await firewall.access.apply(plan(big))
                print(f"a container beside {count} elements, {name} rules: {median(times):.2f} ms")
        watching.cancel()
        await firewall.close()


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="attach, traffic, members")
    parser.add_argument("--quick", action="store_true")
    said = parser.parse_args()
    parts = said.parts or ["attach", "traffic", "members"]
    if "attach" in parts:
        with private_ovs() as ovs, inside(f"/run/netns/{ovs.namespace}"):
            attach(ovs, quick=said.quick)
    if "traffic" in parts:
        asyncio.run(traffic(quick=said.quick))
    if "members" in parts:
        asyncio.run(members(quick=said.quick))


if __name__ == "__main__":
    main()
