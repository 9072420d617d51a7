"""Names that Docker's users choose to do harm with, and words that are no business of ours."""

import json

import pytest

from tests.e2e.bed import PLUGIN_DIR, RUN_DIR, Bed
from tests.e2e.stage import Stage

pytestmark = pytest.mark.docker

HOSTILE = (
    "lab\x1b[2J\n$(touch /run/owned)`touch /run/owned`;touch /run/owned #'\"\\ "
    "{0} %s \x9b31m\u202e[red]"
)
PRIVATE = "hunter2hunter2"
OPTION = "swordfish"
"""An option of a network is shown to who asks for the network, as Docker does."""


@pytest.mark.long
def test_a_hostile_name_is_only_a_name(bed: Bed, stage: Stage) -> None:
    secret = ("--label", f"token={PRIVATE}", "-o", f"com.example.token={OPTION}")
    create = ("network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam", *secret)
    identifier = bed.docker(*create, "--subnet", "10.77.1.0/24", HOSTILE)
    try:
        private = (
            "--label",
            f"token={PRIVATE}",
            "--env",
            f"TOKEN={PRIVATE}",
            "--publish",
            "8080:80",
        )
        container = stage.container("ann", identifier, *private)
        endpoint = container.inspect()["NetworkSettings"]["Networks"][HOSTILE]["EndpointID"]
        pools = json.loads(bed.ovsnet("ipam", "pools", "--json"))
        for words in (
            *(("status",), ("network", "ls"), ("network", "show", identifier), ("check",)),
            *(
                ("network", "show", HOSTILE),
                ("network", "rm", identifier),
                ("network", "rm", "\x1b"),
            ),
            *(("endpoint", "ls"), ("endpoint", "show", endpoint), ("ports",), ("ipam", "pools")),
            *(("ipam", "leases", pools[0]["pool"]["id"]), ("ipam", "leases", HOSTILE)),
            *(("ipam", "release", "10.77.1.2"), ("ipam", "release", pools[0]["pool"]["id"])),
        ):
            for more in ((), ("--json",)):
                result = bed.try_ovsnet(*words, *more)
                for line in (result.out + "\n" + result.err).split("\n"):
                    assert line.isprintable(), (words, line)
                assert "Traceback" not in result.err, words
                assert PRIVATE not in result.out + result.err, words
        assert json.loads(bed.ovsnet("network", "show", identifier, "--json"))["name"] == HOSTILE
        told = bed.try_ovsnet("network", "rm", identifier)
        assert f"`docker network rm {identifier[:12]}`" in told.err
        # It is in no rule, no row and no line of the log that it could break.
        for found in (bed.nft("list", "ruleset"), bed.run("ovsdb-client", "dump")):
            assert "owned" not in found
            assert PRIVATE not in found
        assert bed.attempt("test", "-e", "/run/owned").code == 1
        for line in bed.plugin.said().splitlines():
            assert line.isprintable(), line
        assert PRIVATE not in bed.plugin.said()
        assert OPTION not in bed.plugin.said()
        for path in bed.state_dir.iterdir():
            assert PRIVATE.encode() not in path.read_bytes(), path
    finally:
        bed.docker("rm", "--force", "ann")
        bed.docker("network", "rm", identifier)


def test_only_root_may_speak_to_the_sockets(bed: Bed) -> None:
    for path in (
        f"{RUN_DIR}/admin.sock",
        f"{PLUGIN_DIR}/ovsnet.sock",
        f"{PLUGIN_DIR}/ovsipam.sock",
    ):
        assert bed.run("stat", "--format", "%a %u", path) == "600 0", path
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    probe = "import socket; socket.socket(socket.AF_UNIX).connect('{}')"
    for path in (
        f"{PLUGIN_DIR}/ovsnet.sock",
        f"{PLUGIN_DIR}/ovsipam.sock",
        f"{RUN_DIR}/admin.sock",
    ):
        told = bed.attempt(*as_nobody, "/usr/bin/python3", "-c", probe.format(path))
        assert "PermissionError" in told.err, path
