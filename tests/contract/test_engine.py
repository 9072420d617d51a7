"""The port Engine: in memory, and over HTTP to a daemon that answers as dockerd does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from netaddr import IPAddress, IPNetwork

from ovsdriver.adapters.engine import DockerEngine
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import ConfigurationError, UnavailableError
from ovsdriver.ports import Engine, EngineEndpoint, EngineSubnet
from tests.fakes.engine import FakeEngine

LAB = NetworkId("1ab" + "0" * 61)
BRIDGE = NetworkId("b4" * 32)
WEB = EndpointId("3eb" + "0" * 61)
DB = EndpointId("db" * 32)


class Daemon:
    """Answers the four calls as dockerd 26 does; only members that matter are filled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.networks: dict[str, dict] = {}
        self.containers: list[dict] = []
        self.calls: list[str] = []
        self.vanishing: set[str] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        for path, handler in (
            ("/info", self._info),
            ("/networks", self._list),
            ("/networks/{id}", self._inspect),
            ("/containers/json", self._containers),
            ("/containers/{id}/json", self._inspect_container),
            ("/_ping", self._ping),
        ):
            app.router.add_get(path, handler)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, self.path).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def add_network(self, network: str, name: str, driver: str = "ovsnet") -> None:
        self.networks[network] = {
            "Id": network,
            "Name": name,
            "Driver": driver,
            "Scope": "local",
            "IPAM": {"Driver": "default", "Options": None, "Config": []},
            "ConfigOnly": False,
            "Containers": {},
        }

    def remove_network(self, network: str) -> None:
        del self.networks[network]

    def add_subnet(
        self,
        network: str,
        cidr: str,
        *,
        ipam: str = "ovsipam",
        options: Mapping[str, str] | None = None,
        scope: str = "local",
        kept: Sequence[str] = (),
    ) -> None:
        there = self.networks[network]
        there["Scope"] = scope
        there["IPAM"]["Driver"] = ipam
        there["IPAM"]["Options"] = options
        subnet = {"Subnet": cidr}
        if kept:
            subnet["Gateway"] = kept[0]
            subnet["AuxiliaryAddresses"] = {f"host{each}": each for each in kept[1:]}
        there["IPAM"]["Config"].append(subnet)

    def add_endpoint(self, endpoint: str, network: str, container: str, *addresses: str) -> None:
        v4 = next((each for each in addresses if ":" not in each), "")
        v6 = next((each for each in addresses if ":" in each), "")
        self.networks[network]["Containers"][container * 8] = {
            "Name": container,
            "EndpointID": endpoint,
            "MacAddress": "",
            "IPv4Address": v4,
            "IPv6Address": v6,
        }
        self.containers.append(
            {
                "Id": container * 8,
                "Names": [f"/{container}"],
                "NetworkSettings": {
                    "Networks": {
                        self.networks[network]["Name"]: {
                            "NetworkID": network,
                            "EndpointID": endpoint,
                            "IPAMConfig": None,
                            "IPAddress": v4.partition("/")[0],
                            "GlobalIPv6Address": v6.partition("/")[0],
                        }
                    }
                },
            }
        )

    def add_alias(self, endpoint: str, alias: str) -> None:
        for container in self.containers:
            for each in container["NetworkSettings"]["Networks"].values():
                if each["EndpointID"] == endpoint:
                    each["Aliases"] = [*(each.get("Aliases") or ()), alias]
                    each["DNSNames"] = ["web", alias]

    def remove_container(self, container: str) -> None:
        self.containers = [each for each in self.containers if each["Id"] != container * 8]

    def remove_endpoint(self, endpoint: str) -> None:
        for network in self.networks.values():
            network["Containers"] = {
                key: each
                for key, each in network["Containers"].items()
                if each["EndpointID"] != endpoint
            }
        for container in self.containers:
            for each in container["NetworkSettings"]["Networks"].values():
                if each["EndpointID"] == endpoint:
                    each["EndpointID"] = ""

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response({"ID": "ENGINE", "ServerVersion": "26.1.5"})

    async def _list(self, request: web.Request) -> web.Response:
        # The list leaves the containers out.
        return web.json_response([each | {"Containers": {}} for each in self.networks.values()])

    async def _inspect(self, request: web.Request) -> web.Response:
        network = request.match_info["id"]
        self.calls.append(network)
        if network in self.vanishing:
            return web.json_response({"message": f"network {network} not found"}, status=404)
        return web.json_response(self.networks[network])

    async def _inspect_container(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        found = [each for each in self.containers if each["Id"] == wanted]
        if not found:
            return web.json_response({"message": "no such container"}, status=404)
        (listed,) = found
        inspected = listed | {"Name": listed["Names"][0]}
        return web.json_response(inspected)

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _containers(self, request: web.Request) -> web.Response:
        assert request.query["all"] == "1"
        return web.json_response(self.containers)


class Rig:
    """An engine, what it reads from, and how to stop that."""

    def __init__(
        self, engine: Engine, world: FakeEngine | Daemon, stop: Callable[[], Awaitable[None]]
    ) -> None:
        self.engine = engine
        self.world = world
        self.stop = stop


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    made = Daemon(tmp_path / "docker.sock")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=["fake", "http"])
async def rig(request: pytest.FixtureRequest, daemon: Daemon) -> Rig:
    if request.param == "http":
        return Rig(DockerEngine(f"unix://{daemon.path}"), daemon, daemon.stop)
    fake = FakeEngine()

    async def stop() -> None:
        fake.end()

    return Rig(fake, fake, stop)


async def test_the_daemon_says_who_it_is(rig: Rig):
    view = await rig.engine.read()
    assert (view.id, view.version) == ("ENGINE", "26.1.5")
    assert view.networks == {}
    assert view.endpoints == {}


async def test_networks_have_names(rig: Rig):
    rig.world.add_network(LAB, "lab")
    assert (await rig.engine.read()).networks == {LAB: "lab"}
    rig.world.remove_network(LAB)
    assert (await rig.engine.read()).networks == {}


async def test_endpoints_have_their_container_and_network(rig: Rig):
    rig.world.add_network(LAB, "lab")
    rig.world.add_endpoint(WEB, LAB, "web")
    rig.world.add_endpoint(DB, LAB, "db")
    view = await rig.engine.read()
    web, db = "web" * 8, "db" * 8
    assert view.endpoints == {
        WEB: EngineEndpoint(endpoint=WEB, network=LAB, container="web", container_id=web),
        DB: EngineEndpoint(endpoint=DB, network=LAB, container="db", container_id=db),
    }
    rig.world.remove_endpoint(DB)
    assert (await rig.engine.read()).containers == view.containers == {web, db}
    rig.world.remove_container("db")
    assert (await rig.engine.read()).containers == {web}


async def test_endpoints_have_their_addresses_once(rig: Rig):
    rig.world.add_network(LAB, "lab")
    rig.world.add_endpoint(WEB, LAB, "web", "10.1.0.2/24", "fd00:1::2/64")
    rig.world.add_endpoint(DB, LAB, "db", "10.1.0.3/24")
    endpoints = (await rig.engine.read()).endpoints
    assert endpoints[WEB].addresses == (IPAddress("10.1.0.2"), IPAddress("fd00:1::2"))
    assert endpoints[DB].addresses == (IPAddress("10.1.0.3"),)


async def test_networks_of_ipam_plugins_have_their_subnets(rig: Rig):
    rig.world.add_network(LAB, "lab")
    options = {"ipam.space": "blue"}
    kept = ("10.1.0.1", "10.1.0.5", "10.1.0.6")
    rig.world.add_subnet(LAB, "10.1.0.0/24", options=options, kept=kept)
    rig.world.add_subnet(LAB, "fd00:1::/64", options=options)
    one, two = (await rig.engine.read()).subnets
    assert one == EngineSubnet(
        network=LAB,
        cidr=IPNetwork("10.1.0.0/24"),
        ipam="ovsipam",
        options={"ipam.space": "blue"},
        kept={IPAddress(each): f"host{each}" * (each != kept[0]) for each in kept},
    )
    assert (two.cidr, two.kept) == (IPNetwork("fd00:1::/64"), {})
    rig.world.remove_network(LAB)
    assert (await rig.engine.read()).subnets == ()


async def test_networks_of_swarm_are_told_from_those_of_the_host(rig: Rig):
    rig.world.add_network(LAB, "lab")
    rig.world.add_subnet(LAB, "10.1.0.0/24", ipam="example/ovsipam:latest", scope="swarm")
    (subnet,) = (await rig.engine.read()).subnets
    assert (subnet.ipam, subnet.local) == ("example/ovsipam:latest", False)


async def test_an_endpoint_that_ended_is_not_listed(rig: Rig):
    rig.world.add_network(LAB, "lab")
    rig.world.add_endpoint(WEB, LAB, "web")
    rig.world.remove_endpoint(WEB)
    assert (await rig.engine.read()).endpoints == {}


async def test_networks_alone_are_listed_with_their_daemon(rig: Rig):
    rig.world.add_network(LAB, "lab")
    view = await rig.engine.read()
    assert await rig.engine.list_networks() == (view.id, {LAB})


async def test_containers_are_called_by_their_name_and_their_aliases(rig: Rig):
    rig.world.add_network(LAB, "lab")
    rig.world.add_network(BRIDGE, "other")
    rig.world.add_endpoint(WEB, LAB, "web")
    rig.world.add_alias(WEB, "www")
    rig.world.add_endpoint(DB, LAB, "db")
    assert await rig.engine.called(LAB, [WEB]) == {WEB: ("web", "www")}
    assert await rig.engine.called(LAB, [DB, WEB]) == {WEB: ("web", "www"), DB: ("db",)}
    assert await rig.engine.called(BRIDGE, [DB]) == {}
    rig.world.remove_endpoint(DB)
    assert await rig.engine.called(LAB, [DB]) == {}


async def test_a_daemon_that_is_not_there_is_a_sentence(rig: Rig):
    await rig.stop()
    called = partial(rig.engine.called, LAB, [WEB])
    for read in (rig.engine.read, rig.engine.list_networks, called):
        with pytest.raises(UnavailableError, match=r"is dockerd running\?"):
            await read()


async def test_the_end_of_the_daemon_is_noticed_and_its_absence_is_a_sentence(rig: Rig):
    answered = asyncio.Event()
    waiting = asyncio.create_task(rig.engine.until_gone(answered.set))
    async with asyncio.timeout(30):
        await answered.wait()
    assert not waiting.done()
    await rig.stop()
    async with asyncio.timeout(30):
        await waiting
    answered.clear()
    with pytest.raises(UnavailableError, match=r"is dockerd running\?"):
        await rig.engine.until_gone(answered.set)
    assert not answered.is_set()


# What only the real one can meet


@pytest.mark.parametrize("state", ["created", "exited", "dead", "running"])
async def test_endpoints_that_only_an_ended_container_names_are_none(daemon: Daemon, state: str):
    daemon.add_network(LAB, "lab")
    daemon.add_endpoint(WEB, LAB, "web", "10.1.0.2/24")
    daemon.networks[LAB]["Containers"] = {}
    daemon.containers[0]["State"] = state
    view = await DockerEngine(f"unix://{daemon.path}").read()
    assert set(view.endpoints) == ({WEB} if state == "running" else set())
    assert view.containers == {"web" * 8}


async def test_an_endpoint_without_a_container_is_listed(daemon: Daemon):
    daemon.add_network(LAB, "lab")
    daemon.networks[LAB]["Containers"] = {f"ep-{WEB}": {"Name": "gone", "EndpointID": WEB}}
    view = await DockerEngine(f"unix://{daemon.path}").read()
    assert view.endpoints == {WEB: EngineEndpoint(endpoint=WEB, network=LAB, container="")}


async def test_an_endpoint_that_only_its_container_knows_is_listed(daemon: Daemon):
    daemon.add_network(LAB, "lab")
    daemon.add_endpoint(WEB, LAB, "web")
    daemon.networks[LAB]["Containers"] = None
    view = await DockerEngine(f"unix://{daemon.path}").read()
    assert set(view.endpoints) == {WEB}


async def test_networks_of_dockers_own_drivers_are_named_and_not_looked_into(daemon: Daemon):
    daemon.add_network(BRIDGE, "bridge", driver="bridge")
    daemon.add_network(LAB, "lab", driver="example/ovsnet:latest")
    view = await DockerEngine(f"unix://{daemon.path}").read()
    assert view.networks == {BRIDGE: "bridge", LAB: "lab"}
    assert daemon.calls == [LAB]


async def test_networks_of_dockers_own_drivers_with_an_ipam_plugin_are_looked_into(daemon: Daemon):
    daemon.add_network(BRIDGE, "dockers", driver="bridge")
    daemon.add_subnet(BRIDGE, "10.1.0.0/24")
    daemon.add_endpoint(WEB, BRIDGE, "web", "10.1.0.2/24")
    daemon.containers.clear()  # while it starts
    view = await DockerEngine(f"unix://{daemon.path}").read()
    assert daemon.calls == [BRIDGE]
    assert view.endpoints[WEB].addresses == (IPAddress("10.1.0.2"),)
    assert [each.network for each in view.subnets] == [BRIDGE]


async def test_addresses_of_containers_on_any_network_are_read(daemon: Daemon):
    daemon.add_network(BRIDGE, "bridge", driver="bridge")
    daemon.add_endpoint(WEB, BRIDGE, "web", "172.17.0.2/16")
    view = await DockerEngine(f"unix://{daemon.path}").read()
    assert daemon.calls == []
    assert view.endpoints[WEB].addresses == (IPAddress("172.17.0.2"),)


async def test_what_networks_are_modelled_on_and_dockers_own_ipam_have_no_subnets_of_ours(
    daemon: Daemon,
):
    daemon.add_network(LAB, "model", driver="null")
    daemon.add_subnet(LAB, "10.1.0.0/24")
    daemon.networks[LAB]["ConfigOnly"] = True
    daemon.add_network(BRIDGE, "lab")
    daemon.add_subnet(BRIDGE, "10.2.0.0/24", ipam="default")
    assert (await DockerEngine(f"unix://{daemon.path}").read()).subnets == ()


async def test_a_gateway_that_docker_shows_with_its_prefix_length_is_read(daemon: Daemon):
    daemon.add_network(LAB, "lab")
    daemon.add_subnet(LAB, "fd00:1::7/64", kept=("fd00:1::1/64",))
    (subnet,) = (await DockerEngine(f"unix://{daemon.path}").read()).subnets
    assert subnet.kept == {IPAddress("fd00:1::1"): ""}
    assert str(subnet.cidr) == "fd00:1::/64"


async def test_an_address_that_cannot_be_read_is_not_left_out(daemon: Daemon):
    daemon.add_network(LAB, "lab")
    daemon.add_endpoint(WEB, LAB, "web", "10.1.0.x/24")
    with pytest.raises(UnavailableError, match=r"cannot be read.*10\.1\.0\.x"):
        await DockerEngine(f"unix://{daemon.path}").read()


async def test_a_network_that_is_removed_while_we_read_is_no_fault(daemon: Daemon):
    daemon.add_network(LAB, "lab")
    daemon.vanishing.add(LAB)
    assert (await DockerEngine(f"unix://{daemon.path}").read()).endpoints == {}


async def test_a_daemon_that_hangs_is_given_up(tmp_path: Path):
    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readline()).startswith(b"GET /info")
        await reader.read()
        writer.close()
        left.set()

    path = tmp_path / "docker.sock"
    async with await asyncio.start_unix_server(hang, path):
        with pytest.raises(UnavailableError, match="did not answer in"):
            await DockerEngine(f"unix://{path}", timeout_s=0.1).read()
        await left.wait()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"not json", id="not-json"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"{}", id="no-id"),
        pytest.param(b"null", id="null"),
    ],
)
async def test_an_answer_that_makes_no_sense_is_a_sentence(tmp_path: Path, body: bytes):
    async def nonsense(request: web.Request) -> web.Response:
        return web.Response(body=body)

    app = web.Application()
    app.router.add_get("/{all:.*}", nonsense)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "docker.sock").start()
    try:
        with pytest.raises(UnavailableError, match="cannot be read"):
            await DockerEngine(f"unix://{tmp_path}/docker.sock").read()
    finally:
        await runner.cleanup()


async def test_a_refusal_of_the_daemon_is_a_sentence(tmp_path: Path):
    runner = web.AppRunner(web.Application())  # 404 to everything
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "docker.sock").start()
    try:
        with pytest.raises(UnavailableError, match="404"):
            await DockerEngine(f"unix://{tmp_path}/docker.sock").read()
    finally:
        await runner.cleanup()


async def test_a_container_is_looked_at_by_its_name(tmp_path: Path):
    asked: list[str] = []
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(
        "nameserver 127.0.0.11\n# ExtServers: [host(127.0.0.53) 192.0.2.53]\n", encoding="utf-8"
    )

    async def inspect(request: web.Request) -> web.Response:
        asked.append(request.match_info["name"])
        if request.match_info["name"] != "web":
            return web.json_response({"message": "no such container"}, status=404)
        return web.json_response(
            {
                "Name": "/web",
                "State": {"Status": "exited", "ExitCode": 137},
                "NetworkSettings": {"Networks": {"lab": {"NetworkID": LAB}}},
                "ResolvConfPath": str(resolv_conf),
            }
        )

    app = web.Application()
    app.router.add_get("/containers/{name}/json", inspect)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "docker.sock").start()
    try:
        engine = DockerEngine(f"unix://{tmp_path}/docker.sock")
        seen = await engine.look_at("web")
        assert seen is not None
        assert (seen.name, seen.status, seen.exit_code) == ("web", "exited", 137)
        assert seen.networks == {"lab": LAB}
        assert seen.resolv_conf == str(resolv_conf)
        found = await engine.asks("web")
        assert [(str(each.address), each.by_host) for each in found.forwarded] == [
            ("127.0.0.53", True),
            ("192.0.2.53", False),
        ]
        with pytest.raises(UnavailableError, match=r"resolv\.conf of nobody"):
            await engine.asks("nobody")
        assert await engine.look_at("a/b") is None
        assert asked == ["web", "web", "nobody", "a/b"]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("address", ["", "/run/docker.sock", "unix://", "ssh://host", "tcp://"])
def test_an_address_that_is_none_is_refused(address: str):
    with pytest.raises(ConfigurationError, match=r"unix:///run/docker\.sock"):
        DockerEngine(address)
