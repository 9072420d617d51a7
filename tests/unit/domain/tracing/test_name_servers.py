"""Whom a container asks for names, as Docker writes it into its ``resolv.conf``."""

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.tracing import name_servers
from ovsdriver.domain.tracing.containers import End
from ovsdriver.domain.tracing.hops import Verdict
from ovsdriver.domain.tracing.name_servers import Server, Servers


def web(closed: str) -> End:
    return End(
        name="web",
        network="lab",
        network_id="a" * 64,
        state="attached",
        fault="",
        addresses=(IPNetwork("10.0.0.2/24"),),
        bridge="br-ovsnet",
        vlan=10,
        mode="nat",
        isolate=False,
        icc=True,
        protected=False,
        sink=False,
        inside=None,
        closed=closed,
    )


DOCKERS = name_servers.DOCKERS
FAR, NEAR = IPAddress("192.0.2.53"), IPAddress("127.0.0.53")


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        pytest.param(
            "nameserver 127.0.0.11\nsearch lan\n# ExtServers: [host(127.0.0.53) 192.0.2.53]\n",
            Servers(
                asked=(DOCKERS,),
                forwarded=(Server(address=NEAR, by_host=True), Server(address=FAR)),
            ),
            id="docker's",
        ),
        pytest.param(
            "nameserver 127.0.0.11\n# ExtServers: [host(fe80::1%eth0)]\n",
            Servers(
                asked=(DOCKERS,), forwarded=(Server(address=IPAddress("fe80::1"), by_host=True),)
            ),
            id="with a zone",
        ),
        pytest.param(
            "  nameserver 192.0.2.53 \nnameserver nonsense\nnameserver\n#nameserver 192.0.2.9\n",
            Servers(asked=(FAR,), forwarded=()),
            id="a person's",
        ),
        pytest.param("", Servers(asked=(), forwarded=()), id="empty"),
    ],
)
def test_a_resolv_conf_is_read_with_dockers_comments(text: str, servers: Servers) -> None:
    assert name_servers.read(text) == servers


@pytest.mark.parametrize(
    ("servers", "listens", "closed", "by"),
    [
        (Servers(asked=(), forwarded=()), True, "", "/etc/resolv.conf of web"),
        (Servers(asked=(DOCKERS,), forwarded=()), False, "", "Docker's resolver"),
        (Servers(asked=(DOCKERS,), forwarded=()), True, "", "the servers that Docker asks"),
        (
            Servers(asked=(DOCKERS,), forwarded=(Server(address=FAR),)),
            True,
            "--internal",
            "--internal of lab",
        ),
        (Servers(asked=(DOCKERS,), forwarded=(Server(address=FAR),)), None, "", ""),
        (Servers(asked=(FAR,), forwarded=()), False, "--internal", ""),
    ],
)
def test_what_stands_before_the_servers_is_told(
    servers: Servers, listens: bool | None, closed: str, by: str
) -> None:
    hops = name_servers.of_docker(web(closed), servers, listens=listens)
    stops = [each.by for each in hops if each.verdict is Verdict.STOP]
    assert stops[:1] == ([by] if by else [])


def test_a_server_of_the_host_itself_must_listen() -> None:
    server = Server(address=NEAR, by_host=True)
    assert name_servers.by_host(server, listens=True).verdict is Verdict.PASS
    assert "nobody listens at 127.0.0.53" in name_servers.by_host(server, listens=False).sentence
