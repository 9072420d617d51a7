"""The adapters' edges that need no namespace: routes as bytes, switches as files, no iptables."""

import os
import socket
import struct
from pathlib import Path

import pytest

from ovsdriver.adapters.firewall.docker_user import DockerUser, Iptables
from ovsdriver.adapters.firewall.firewall import turn
from ovsdriver.adapters.kernel.codec import rtnetlink
from ovsdriver.adapters.kernel.codec.route_messages import ways
from ovsdriver.adapters.kernel.host.host_network import read_link
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.traffic.firewall import HostLink
from ovsdriver.domain.traffic.forwarding import Write
from ovsdriver.errors import UnavailableError


def route(
    family: int = socket.AF_INET,
    *,
    length: int = 24,
    table: int = 254,
    kind: int = 1,
    flags: int = 0,
    attributes: bytes = b"",
) -> bytes:
    return struct.pack("=BBBBBBBBI", family, length, 0, 0, table, 0, 0, kind, flags) + attributes


OIF = rtnetlink.u32(4, 7)
FE80 = rtnetlink.attribute(1, socket.inet_pton(socket.AF_INET6, "fe80::"))
FD00 = rtnetlink.attribute(1, socket.inet_pton(socket.AF_INET6, "fd00::"))
HOPS = rtnetlink.attribute(9, b"".join(struct.pack("=HBBi", 8, 0, 0, index) for index in (7, 8)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(route(attributes=OIF), [(7, 4, False)], id="subnet"),
        pytest.param(route(length=0, attributes=OIF), [(7, 4, True)], id="default"),
        pytest.param(
            route(socket.AF_INET6, length=0, attributes=OIF), [(7, 6, True)], id="default-ipv6"
        ),
        pytest.param(
            route(length=0, attributes=HOPS), [(7, 4, True), (8, 4, True)], id="several-hops"
        ),
        pytest.param(
            route(table=252, attributes=OIF + rtnetlink.u32(15, 1000)),
            [(7, 4, False)],
            id="numbered-table",
        ),
        pytest.param(
            route(socket.AF_INET6, length=64, attributes=FD00 + OIF), [(7, 6, False)], id="ipv6"
        ),
        pytest.param(route(socket.AF_INET6, length=64, attributes=FE80 + OIF), [], id="link-local"),
        pytest.param(route(table=255, attributes=OIF), [], id="local-table"),
        pytest.param(route(kind=2, attributes=OIF), [], id="to-the-host"),
        pytest.param(route(kind=6), [], id="blackhole"),
        pytest.param(route(flags=0x200, attributes=OIF), [], id="cached"),
        pytest.param(route(), [], id="through-no-link"),
        pytest.param(
            route(attributes=rtnetlink.attribute(9, bytes(8))), [], id="hop-without-length"
        ),
    ],
)
def test_routes_that_forwarded_packets_follow_are_read(
    message: bytes, expected: list[tuple[int, int, bool]]
) -> None:
    assert list(ways(message)) == expected


def test_a_link_is_read_with_its_kind_and_master() -> None:
    header = struct.pack("=BxHiII", 0, 1, 42, 1, 0)
    kind = rtnetlink.nest(18, rtnetlink.text(1, "veth"))
    plain = header + rtnetlink.text(3, "eth0")
    assert read_link(plain) == HostLink(name="eth0", index=42)
    assert read_link(struct.pack("=BxHiII", 0, 1, 42, 0, 0)) == HostLink(
        name="", index=42, up=False
    )
    assert read_link(plain + kind + rtnetlink.u32(10, 5)) == HostLink(
        name="eth0", index=42, kind="veth", master=5
    )


def test_switches_that_do_not_exist_are_absent_and_writing_them_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/there").write_text("0\n")
    sysctls = Sysctls(tmp_path)
    assert sysctls.present(["net/there", "net/gone"]) == {"net/there": "0"}
    assert sysctls.every("net/*") == {"net/there": "0"}
    sysctls.write("net/there", "1")
    turn(sysctls, [Write(path="net/gone", value="1")])
    assert sysctls.read("net/there") == "1"
    assert not (tmp_path / "net/gone").exists()
    assert sysctls.boot_id() == ""


def test_a_switch_that_may_not_be_written_is_an_error_that_says_what_to_type(
    tmp_path: Path,
) -> None:
    (tmp_path / "net/ipv4/conf/eth0.5/forwarding").mkdir(parents=True)
    path = "net/ipv4/conf/eth0.5/forwarding"
    with pytest.raises(UnavailableError, match=r"sysctl -w net/ipv4/conf/eth0\.5/forwarding=1"):
        turn(Sysctls(tmp_path), [Write(path=path, value="1")])


async def test_a_host_without_iptables_has_nothing_to_keep(tmp_path: Path) -> None:
    absent = [Iptables(family, search=str(tmp_path)) for family in (4, 6)]
    docker_user = DockerUser(instance="ovsnet", tables=absent)
    assert not await docker_user.ensure()
    assert not await docker_user.remove()
    assert await absent[0].listing() is None
    assert not await absent[0].shows_nftables()


async def test_iptables_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "iptables"
    program.write_text("#!/bin/sh\necho $$ >$0.pid\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setattr("ovsdriver.adapters.firewall.docker_user._TIMEOUT_S", 0.5)
    with pytest.raises(UnavailableError, match=r"xtables\.lock"):
        await Iptables(4, search=f"{tmp_path}:/bin:/usr/bin").listing()
    pid = int((tmp_path / "iptables.pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_iptables_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "iptables"
    program.write_bytes(b"\x7fELF not really")
    program.chmod(0o755)
    with pytest.raises(UnavailableError, match="cannot start"):
        await Iptables(4, search=str(tmp_path)).listing()
