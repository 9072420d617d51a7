"""``ovsnet support`` on a real host: what is in it, what never is, and what when all is down."""

import json
import tarfile
from io import BytesIO

import pytest

from tests.e2e.bed import Bed
from tests.e2e.stage import Stage
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

_CANARY = "canary-in-the-mine"


def bundle(bed: Bed, *args: str, env: str = "") -> dict[str, str]:
    """Return the files of a bundle by their names."""
    path = bed.home / "support.tar.gz"
    where = (f"--state-dir={bed.state_dir}", "-o", str(path))
    done = bed.attempt(
        *("env", f"OVSNET_WEBHOOKS={env}") if env else ("env",),
        *(bed.serve()[0], "support", *where, *args),
        timeout_s=180,
    )
    assert done.code == 0, done
    assert path.stat().st_mode & 0o777 == 0o600
    assert _CANARY not in done.out + done.err
    found = {}
    with tarfile.open(fileobj=BytesIO(path.read_bytes())) as file:
        for each in file:
            content = file.extractfile(each)
            assert content is not None
            found[each.name.removeprefix("ovsnet-support/")] = content.read().decode()
    path.unlink()
    return found


def failed(files: dict[str, str]) -> dict[str, str]:
    """Return what the manifest names as missing, with why."""
    parts = json.loads(files["manifest.json"])["parts"]
    return {each["name"]: each["failed"] for each in parts if each["failed"]}


def test_a_bundle_has_what_a_host_is_made_of_and_no_secret(bed: Bed, stage: Stage) -> None:
    key = bed.home / "key.pem"
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{_CANARY}\n-----END PRIVATE KEY-----\n")
    file = bed.home / "planted.toml"
    file.write_text(
        f'ovn_private_key = "{key}"\n'
        f'[[webhooks]]\nurl = "https://u:{_CANARY}@h.example/{_CANARY}"\nsecret = "{_CANARY}"\n'
    )
    labels = ("--label", f"pass={_CANARY}")
    network = stage.network("lab", *labels, subnet="10.77.1.0/24")
    stage.container("web", network, *labels, "--env", f"TOKEN={_CANARY}", "-p", "8080:80")
    bed.ovs_vsctl("add-br", "br-vpn", "--", "set", "Bridge", "br-vpn", "datapath_type=netdev")
    tunnel = ("type=vxlan", "options:remote_ip=192.0.2.9", f"options:psk={_CANARY}")
    bed.ovs_vsctl("add-port", "br-vpn", "vx0", "--", "set", "Interface", "vx0", *tunnel)
    try:
        files = bundle(bed, "--config", str(file), env=f'[{{url="http://h",secret="{_CANARY}"}}]')
    finally:
        bed.ovs_vsctl("del-br", "br-vpn")
        key.unlink()
        file.unlink()
    assert _CANARY not in "".join((*files, *files.values()))
    assert "vx0" in files["openvswitch/show.txt"]
    state = json.loads(files["state.json"])
    assert [each["name"] for each in state["networks"]] == ["lab"]
    (endpoint,) = state["endpoints"]
    assert endpoint["port_name"] in files["openvswitch/rows.json"]
    assert endpoint["port_name"] in files["links.txt"]
    assert "10.77.1.1" in files["addresses.txt"]
    assert "10.77.1.2" in files["sandboxes.txt"]
    assert "priority=" in files["openvswitch/flows/br-ovsnet.txt"]
    assert "masquerade" in files["rules.json"]
    assert "ipv4/ip_forward = " in files["sysctls.txt"]
    docker = json.loads(files["docker.json"])
    assert "web" in json.dumps(docker["containers"])
    assert json.loads(files["ipam-check.json"])["faults"] == []
    assert "attached" in files["events.json"]
    # A bed has neither journald, nor vswitchd's socket where its own programs look for it; and a
    # busy machine may need more than a part has.
    why = {name: why for name, why in failed(files).items() if not why.startswith("not within")}
    assert set(why) <= {"log.txt", "openvswitch/datapath.txt"}, why


def test_an_anonymous_bundle_has_other_names_and_addresses_everywhere(
    bed: Bed, stage: Stage
) -> None:
    six = ("--ipv6", "--subnet", "fd00:77:1::/64")
    network = stage.network("harbour", *six, subnet="10.77.1.0/24")
    web = stage.container("lighthouse", network)
    mac = web.link("eth0")["address"]
    files = bundle(bed, "--anonymous")
    whole = "".join((*files, *files.values()))
    hostname = bed.run("hostname")
    for said in ("harbour", "lighthouse", "10.77.1.", "fd00:77:1:", mac, "192.0.2.1", hostname):
        assert said not in whole, said
    state = json.loads(files["state.json"])
    (endpoint,) = state["endpoints"]
    assert state["networks"][0]["name"].startswith("network-")
    assert endpoint["network_name"] == state["networks"][0]["name"]
    assert endpoint["container"].startswith("container-")
    assert endpoint["container"] in files["docker.json"]
    (address, _) = endpoint["endpoint"]["addresses"]
    assert address in files["sandboxes.txt"]
    assert endpoint["endpoint"]["mac"] in files["sandboxes.txt"]


def test_while_all_is_down_there_is_a_bundle_of_what_is_left(bed: Bed, stage: Stage) -> None:
    stage.network("lab", subnet="10.77.1.0/24")
    for daemon in reversed(bed.daemons.values()):
        daemon.stop()
    try:
        files = bundle(bed)
    finally:
        bed.revive()
    gone = failed(files)
    assert "ovsnet is not running" in gone["state.json"]
    assert {"docker.json", "openvswitch/rows.json", "metrics.txt"} <= set(gone)
    assert json.loads(files["ipam-check.json"])["counts"]["networks"] == 1
    assert "wan0" in files["addresses.txt"]


def test_a_docker_that_hangs_costs_its_own_part_alone(bed: Bed, stage: Stage) -> None:
    silent = bed.home / "silent.sock"
    script = (
        "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen();"
        "print('listening', flush=True); time.sleep(600)"
    )
    server = Program(bed, "silent", "python3", "-c", script, str(silent))
    server.start()
    until(lambda: "listening" in server.said(), "it listens")
    try:
        files = bundle(bed, f"--docker=unix://{silent}")
    finally:
        server.stop()
        silent.unlink()
    assert failed(files)["docker.json"]
    assert "state.json" in files
