"""``ovsnet network`` and ``ovsnet endpoint``."""

from dataclasses import replace

import pytest

from ovsdriver.admin.views import Report
from ovsdriver.errors import ConflictError, UnavailableError, UnknownObjectError
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import DB, LAB, OLD, WEB, endpoint, network

WEB_TOO = "3eb1" * 16


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.there = Report(
        networks=(
            network("lab", LAB),
            network(
                "",
                OLD,
                in_docker=False,
                vlan=0,
                mode="flat",
                internal=True,
                gateway_link=None,
                subnets=(),
                adopted=True,
                shared=True,
                options={},
            ),
        ),
        endpoints=(
            endpoint("web", WEB),
            endpoint("db", DB, state="broken", fault="the device is gone", ofport=None),
            endpoint("web", WEB_TOO, on=OLD, network_name="", addresses=(), sandbox=None),
        ),
    )
    return desk


def test_networks_are_listed_with_what_carries_them(shell: Shell, desk: Desk):
    header, lab, old = shell("network", "ls").stdout.splitlines()
    assert header.split() == [
        "NETWORK",
        "ID",
        "NAME",
        "BRIDGE",
        "VLAN",
        "MODE",
        "SUBNETS",
        "ENDPOINTS",
        "STATE",
    ]
    assert lab.split() == [LAB[:12], "lab", "br-ovsnet", "100", "nat", "10.1.0.0/24", "1", "ready"]
    assert old.split()[:6] == [OLD[:12], "-", "br-ovsnet", "none", "flat", "(internal)"]
    assert "not in Docker" in old


def test_json_has_whole_ids_and_every_member(shell: Shell, desk: Desk):
    lab, old = shell.json("network", "ls")
    assert lab["network"]["id"] == LAB
    assert lab["network"]["subnets"][0] == {
        "cidr": "10.1.0.0/24",
        "gateway": "10.1.0.1",
        "space": "ovsnet",
        "pool": "p1",
        "auxiliary": [],
    }
    assert lab["network"]["options"] == {"ovs.vlan": "100"}
    assert old["in_docker"] is False


def test_a_long_row_is_not_cut_in_a_pipe(shell: Shell, desk: Desk):
    long = network("n" * 300, LAB)
    desk.there = Report(networks=(long,))
    assert "n" * 300 in shell("network", "ls").stdout


@pytest.mark.parametrize("name", ["lab", LAB, LAB[:12], "1ab", "1AB0"])
def test_a_network_is_shown_by_name_or_id(shell: Shell, desk: Desk, name: str):
    text = shell("network", "show", name).stdout
    assert LAB in text
    assert "10.1.0.0/24, gateway 10.1.0.1, space ovsnet" in text
    assert "ovg1ab01ab01ab0" in text
    assert "br-ovsnet (ours, datapath netdev)" in text
    assert WEB[:12] in text
    assert WEB_TOO[:12] not in text


def test_a_network_without_gateway_and_endpoints_is_shown_too(shell: Shell, desk: Desk):
    text = shell("network", "show", OLD).stdout
    assert "none on this host" in text
    assert "none (shared)" in text
    assert "(adopted," in text


def test_the_port_that_addresses_are_asked_from_is_shown_where_there_is_one(
    shell: Shell, desk: Desk
):
    assert "Probing port" not in shell("network", "show", LAB).stdout
    desk.there = Report(networks=(network("lab", LAB, probe_link="ovp1ab01ab01ab0"),))
    assert "Probing port" in (text := shell("network", "show", LAB).stdout)
    assert "ovp1ab01ab01ab0" in text


def test_the_hosts_port_is_a_gateway_s_or_only_the_hosts(shell: Shell, desk: Desk):
    assert "Gateway port" in shell("network", "show", LAB).stdout
    desk.there = Report(networks=(network("lab", LAB, mode="flat"),))
    assert "Host's port" in shell("network", "show", LAB).stdout


def test_what_is_in_force_is_shown_as_far_as_it_can_be_changed(shell: Shell, desk: Desk):
    apart = network("lab", LAB, icc=False)
    desk.there = replace(desk.there, networks=(apart, *desk.there.networks[1:]))
    for command in (("network", "show", LAB), ("endpoint", "show", WEB)):
        (line,) = [each for each in shell(*command).stdout.splitlines() if "In force" in each]
        assert "ovs.bridge" not in line
        assert "ovs.rate" not in line
    assert "ovs.icc=false" in shell("network", "show", LAB).stdout
    said = shell.json("network", "show", LAB)["in_force"]
    assert (said["ovs.icc"], said["ovs.bridge"]) == ("false", "br-ovsnet")
    assert said["ovs.rate"] is None
    assert shell.json("endpoint", "show", WEB)[0]["in_force"]["ovs.vlan"] == "100"


def test_a_shown_network_has_its_endpoints_in_json(shell: Shell, desk: Desk):
    shown = shell.json("network", "show", "lab")
    assert shown["name"] == "lab"
    assert [each["endpoint"]["id"] for each in shown["attached"]] == [WEB, DB]


@pytest.mark.parametrize("kind", ["network", "endpoint"])
def test_what_is_not_known_is_refused_with_what_lists_the_known(
    shell: Shell, desk: Desk, kind: str
):
    result = shell(kind, "show", "nobody")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"ovsnet: ovsnet knows no {kind} 'nobody'; `ovsnet {kind} ls` lists them\n"
    )


def test_endpoints_are_listed(shell: Shell, desk: Desk):
    _, web, db, other = shell("endpoint", "ls").stdout.splitlines()
    assert web.split() == [
        WEB[:12],
        "web",
        "lab",
        "10.1.0.2/24",
        "0a:0f:0a:01:00:02",
        "100",
        "ovh3eb03eb03eb0",
        "attached",
    ]
    assert db.split()[-1] == "broken"
    assert other.split()[2:4] == [OLD[:12], "-"]


def test_endpoints_of_one_network_are_listed(shell: Shell, desk: Desk):
    assert [
        each["endpoint"]["id"] for each in shell.json("endpoint", "ls", "--network", "lab")
    ] == [WEB, DB]
    assert shell("endpoint", "ls", "--network", "nobody").exit_code == 1


def test_an_endpoint_is_shown_with_its_fault(shell: Shell, desk: Desk):
    text = shell("endpoint", "show", "db").stdout
    assert "broken: the device is gone" in text
    assert "ovhdb00db00db00 on bridge br-ovsnet, VLAN 100" in text


@pytest.mark.parametrize(
    ("port", "shown", "listed"),
    [
        pytest.param({"vlan": 0}, "br-ovsnet, VLAN none, OpenFlow port 7", "none", id="untagged"),
        pytest.param(
            {"vlan_mode": "native-untagged", "trunks": (10, 20, 21)},
            "br-ovsnet, VLAN 100 untagged, trunk of 10,20-21, OpenFlow port 7",
            "100+10,20-21",
            id="native-untagged",
        ),
        pytest.param(
            {"vlan_mode": "native-tagged", "trunks": (10,)},
            "VLAN 100 tagged, trunk of 10",
            "100+10",
            id="native-tagged",
        ),
        pytest.param(
            {"vlan": None, "vlan_mode": "trunk", "trunks": (10,), "trunked_networks": (OLD,)},
            f"br-ovsnet, trunk of 10, OpenFlow port 7\nReaches    {OLD[:12]} as well",
            "10",
            id="trunk",
        ),
        pytest.param(
            {"port_kind": "internal", "protected": True},
            "internal port ovh3eb03eb03eb0 on bridge br-ovsnet, VLAN 100, OpenFlow port 7, "
            "protected",
            "100",
            id="internal",
        ),
    ],
)
def test_what_a_port_carries_is_shown(
    shell: Shell, desk: Desk, port: dict[str, object], shown: str, listed: str
):
    desk.there = Report(networks=(network("lab", LAB),), endpoints=(endpoint("web", WEB, **port),))
    assert shown in shell("endpoint", "show", "web").stdout
    assert listed in shell("endpoint", "ls").stdout.splitlines()[1].split()


def test_a_container_on_two_networks_is_shown_with_both(shell: Shell, desk: Desk):
    assert [each["endpoint"]["id"] for each in shell.json("endpoint", "show", "web")] == [
        *(WEB, WEB_TOO)
    ]
    assert shell("endpoint", "show", "web").stdout.count("web\n") == 2


def test_an_endpoint_is_shown_by_the_begin_of_its_id(shell: Shell, desk: Desk):
    assert [each["endpoint"]["id"] for each in shell.json("endpoint", "show", "3eb1")] == [WEB_TOO]


def test_a_begin_that_fits_several_is_refused(shell: Shell, desk: Desk):
    result = shell("endpoint", "show", "3eb")
    assert result.exit_code == 1
    assert f"{WEB[:12]}, {WEB_TOO[:12]}; type more digits" in result.stderr


def test_a_network_is_removed(shell: Shell, desk: Desk):
    assert shell("network", "rm", "lab").stdout.startswith("removed lablablablab")
    assert desk.removed == [("lab", False)]


def test_what_a_person_types_reaches_the_process_as_it_is(shell: Shell, desk: Desk):
    strange = "a/b c?d#e%2f"
    assert shell.json("network", "rm", "--force", strange)["removed"] == [strange * 16]
    assert desk.removed == [(strange, True)]


@pytest.mark.parametrize(
    "error",
    [
        UnknownObjectError("network 'lab' is not known here"),
        ConflictError("Docker still has network lab"),
        UnavailableError("the store is full"),
    ],
    ids=["unknown", "needed", "unavailable"],
)
def test_a_refusal_of_the_process_is_the_sentence_on_stderr(
    shell: Shell, desk: Desk, error: Exception
):
    desk.refusals["lab"] = error
    result = shell("network", "rm", "lab")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"ovsnet: {error}\n"
    assert desk.removed == []


def test_force_is_passed_on(shell: Shell, desk: Desk):
    desk.refusals["lab"] = ConflictError("Docker still has network lab")
    assert shell("network", "rm", "--force", "lab").exit_code == 0


def test_one_refusal_does_not_keep_the_others(shell: Shell, desk: Desk):
    desk.refusals["b"] = ConflictError("b is needed")
    result = shell("network", "rm", "a", "b", "c")
    assert result.exit_code == 1
    assert [name for name, _ in desk.removed] == ["a", "c"]
    assert result.stderr == "ovsnet: b is needed\n"
