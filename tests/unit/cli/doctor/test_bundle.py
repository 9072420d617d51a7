"""``ovsnet support``: what is taken out, what is replaced, and what fits."""

import json
import re
import tarfile
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from ovsdriver.cli.doctor.bundle import archive, parts
from ovsdriver.cli.doctor.bundle.anonymous import Anonymous
from ovsdriver.cli.doctor.bundle.archive import Gathered
from ovsdriver.cli.doctor.bundle.parts import Part
from ovsdriver.cli.doctor.bundle.secrets import REMOVED, Secrets, cleared, values_of
from tests.unit.cli.conftest import Shell

KEY = b"a key"


def part(name: str, content: bytes = b"", failed: str = "") -> Gathered:
    return Gathered(name=name, content=content, failed=failed, seconds=0.5)


def same(text: str) -> str:
    return text


def unpacked(path: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(path) as file:
        for each in file:
            content = file.extractfile(each)
            assert content is not None
            found[each.name.removeprefix("ovsnet-support/")] = content.read()
    return found


# --- secrets ---

CONFIGURATION = {
    "bridge": "br-ovsnet",
    "docker": "unix:///run/docker.sock",
    "ovn_private_key": "/etc/ovn/key.pem",
    "webhooks": [
        {"url": "https://user:pa55word@hooks.example:8443/T000/abcdef?x=1", "secret": "s3cr3t"}
    ],
}


def test_a_configuration_keeps_all_but_its_secrets():
    assert cleared(CONFIGURATION) == {
        "bridge": "br-ovsnet",
        "docker": "unix:///run/docker.sock",
        "ovn_private_key": "/etc/ovn/key.pem",
        "webhooks": [{"url": f"https://hooks.example:8443/{REMOVED}", "secret": REMOVED}],
    }


@pytest.mark.parametrize(
    "text",
    [
        "webhook.failed secret=s3cr3t",
        "POST https://user:pa55word@hooks.example:8443/T000/abcdef?x=1 refused",
        "/T000/abcdef",
        "pa55word",
    ],
)
def test_a_secret_of_the_configuration_is_taken_out_wherever_it_stands(text: str):
    clean = Secrets(values_of(CONFIGURATION)).text(text)
    assert REMOVED in clean
    assert not re.search("s3cr3t|pa55word|abcdef", clean)


@pytest.mark.parametrize(
    "text",
    [
        'options: {psk="hunter2", remote_ip="192.0.2.9"}',
        '{"password": "hunter2"}',
        '["psk","hunter2"]',
        "API_KEY=hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str):
    assert "hunter2" not in Secrets().text(text)


def test_what_is_no_secret_stays():
    text = "key=flow 10.0.0.1 https://example.com port=80 author=me"
    assert Secrets(["a"]).text(text) == text


# --- names and addresses ---


def test_addresses_are_replaced_alike_everywhere_and_subnets_stay_subnets():
    text = "10.1.2.3 10.1.2.0/24 10.1.2.77 10.9.9.9 fd00:1::5 fd00:1::/64 10.1.2.3"
    first, subnet, second, far, six, subnet6, again = Anonymous(KEY, {}).text(text).split()
    assert first == again != "10.1.2.3"
    inside = ip_network(subnet, strict=False)
    assert ip_address(first) in inside
    assert ip_address(second) in inside
    assert ip_address(far) not in inside
    assert ip_address(six) in ip_network(subnet6, strict=False)


def test_another_key_gives_other_addresses():
    assert Anonymous(KEY, {}).text("10.1.2.3") != Anonymous(b"another", {}).text("10.1.2.3")


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 0.0.0.0 255.255.255.0 224.0.0.1 169.254.53.53 ::1 :: ff02::1 fe80::",
        "ff:ff:ff:ff:ff:ff 00:00:00:00:00:00 01:80:c2:00:00:0e",
        "26.1.5 3.5.0 17:20:30 1.2.3.4.5 2026-11-29T17:20:30",
        "999.1.1.1",
    ],
)
def test_what_says_nothing_of_a_network_stays(text: str):
    assert Anonymous(KEY, {}).text(text) == text


def test_macs_and_link_local_addresses_made_of_them_are_replaced():
    text = Anonymous(KEY, {}).text("0a:0f:0a:01:02:03 fe80::80f:aff:fe01:203 33:33:ff:01:02:03")
    mac, local, group = text.split()
    assert "0a:01:02:03" not in mac
    assert int(mac[:2], 16) & 3 == 2
    assert int(group[:2], 16) & 1
    assert ip_address(local).is_link_local
    assert "fe01:203" not in local
    assert mac == Anonymous(KEY, {}).text("0A-0F-0A-01-02-03")


def test_addresses_inside_of_others_are_found():
    text = Anonymous(KEY, {}).text("::ffff:10.1.2.3 nw_src=10.1.2.3,nw_dst=10.1.2.4")
    assert "10.1.2" not in text


def test_names_are_replaced_as_whole_words_and_what_everybody_has_stays():
    names = {"network": ["lab", "bridge"], "container": ["web", "lab-web-1", ""]}
    text = Anonymous(KEY, names).text('{"web": "lab/web"} lab-web-1 website web-2 bridge')
    assert text == '{"container-2": "network-1/container-2"} container-1 website web-2 bridge'


# --- the file ---


def test_a_bundle_is_its_owners_and_says_what_became_of_each_part(tmp_path: Path):
    path = tmp_path / "b.tar.gz"
    given = [part("one.txt", b"says\n"), part("two.txt", failed="nobody answered")]
    archive.write(path, {"ovsnet": "0"}, given, same)
    assert path.stat().st_mode & 0o777 == 0o600
    found = unpacked(path)
    assert set(found) == {"one.txt", "manifest.json"}
    manifest: dict[str, Any] = json.loads(found["manifest.json"])
    assert manifest["ovsnet"] == "0"
    assert [(e["name"], e["bytes"], e["failed"], e["cut"]) for e in manifest["parts"]] == [
        ("one.txt", 5, "", False),
        ("two.txt", 0, "nobody answered", False),
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar.gz"]


def test_what_must_not_be_in_a_text_is_neither_in_names_nor_in_reasons(tmp_path: Path):
    path = tmp_path / "b.tar.gz"
    given = [part("flows/lab.txt", b"lab"), part("two.txt", failed="lab is away")]
    archive.write(path, {}, given, lambda text: text.replace("lab", "x"))
    found = unpacked(path)
    assert found["flows/x.txt"] == b"x"
    assert b"lab" not in found["manifest.json"]


def test_what_does_not_fit_is_cut_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "MOST", archive._RESERVE + 100)
    monkeypatch.setattr(archive, "MOST_OF_ONE", 80)
    path = tmp_path / "b.tar.gz"
    lines = archive.write(path, {}, [part(each, b"x" * 90) for each in "abc"], same)
    assert [(each.bytes, each.cut) for each in lines] == [(80, True), (0, True), (0, True)]
    assert unpacked(path)["a"].endswith(b"(cut here: the rest does not fit)\n")


def test_one_that_cannot_be_written_leaves_the_earlier_file(tmp_path: Path):
    path = tmp_path / "b.tar.gz"
    path.write_bytes(b"earlier")

    def fails(text: str) -> str:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        archive.write(path, {}, [part("a", b"x")], fails)
    assert path.read_bytes() == b"earlier"
    assert len(list(tmp_path.iterdir())) == 1


# --- parts ---


def test_a_part_that_fails_or_hangs_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "TIMEOUT_S", 0.05)
    broken = parts.gathered(Part("a", lambda: str(1 // 0)))
    assert broken.failed.startswith("ZeroDivisionError")
    hangs = parts.gathered(Part("a", lambda: parts.run("sleep", "3", timeout_s=1)))
    assert hangs.failed == "not within 0.05 s"
    assert parts.gathered(Part("a", lambda: "text")).content == b"text"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("no-such-program",), "there is no program no-such-program here"),
        (("sleep", "5"), "sleep did not end in 0.05 s"),
        (("ls", "/no/such/folder"), "ls: ls: cannot access"),
    ],
)
def test_a_program_that_says_nothing_is_a_sentence(command: tuple[str, ...], why: str):
    with pytest.raises(parts.MissingError, match=re.escape(why)):
        parts.run(*command, timeout_s=0.05 if command[0] == "sleep" else 5.0)


def test_nothing_runs_and_there_is_a_bundle_all_the_same(shell: Shell, tmp_path: Path):
    path = tmp_path / "b.tar.gz"
    away = [f"--{each}={tmp_path}/{each}" for each in ("run-dir", "state-dir", "plugin-dir")]
    away += [f"--ovsdb=unix:{tmp_path}/ovsdb", f"--docker=unix://{tmp_path}/docker"]
    done = shell("support", "-o", str(path), *away)
    assert done.exit_code == 0, done.stderr
    assert "without status.json: ovsnet is not running" in done.stderr
    found = unpacked(path)
    assert {"versions.json", "configuration.json", "sysctls.txt", "manifest.json"} <= set(found)


def test_a_folder_is_no_file(shell: Shell, tmp_path: Path):
    done = shell("support", "-o", str(tmp_path))
    assert done.exit_code == 1
    assert "is a folder; name a file" in done.stderr


def test_a_wrong_configuration_is_told_without_its_secrets(shell: Shell, tmp_path: Path):
    file = tmp_path / "ovsnet.toml"
    file.write_text('brigde = "x"\n[[webhooks]]\nurl = "http://h/CANARY1"\nsecret = "CANARY2"\n')
    path = tmp_path / "b.tar.gz"
    env = {"OVSNET_WEBHOOKS": '[{url="http://h",secret="CANARY3"}]'}
    done = shell("support", "--config", str(file), "-o", str(path), env=env)
    assert done.exit_code == 0, done.stderr
    found = unpacked(path)
    assert b"brigde: no such setting" in found["configuration.json"]
    assert b"CANARY" not in b"".join(found.values())
    assert "CANARY" not in done.stderr
