from dataclasses import fields
from pathlib import Path

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import DefaultPool, SpaceLimit
from ovsdriver import config
from ovsdriver.config import BridgeRange, Settings
from ovsdriver.domain.records.options.access import RuleSet
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import CommandLineError, ConfigurationError
from ovsdriver.words import access_words

WHOLE = """
plugin_dir = "/run/lab/plugins"
run_dir = "/run/lab"
state_dir = "/var/lib/lab"
ovsdb = "tcp:127.0.0.1:6640"
docker = "unix:///run/lab/docker.sock"
instance = "lab"
bridge = "br-lab"
datapath = "netdev"
vlans = "100-199"
mtu = 1400
spaces = ["blue", "red"]
exclude = ["10.128.7.0/24", "fd6f:7673:1::/48"]
outside_bridges = ["br0"]
name_servers = ["192.0.2.53"]
view_group = "lookers"
metrics = "networks"
metrics_listen = "127.0.0.1:9821"
deadline_s = 5.5
log_level = "debug"

[[pools]]
base = "10.64.0.0/10"
size = 26

[[pools]]
base = "fd00::/32"
size = 64

[[bridges]]
name = "br-phys"
vlans = [200, 299]

[[limits]]
space = "blue"
pools = 4
addresses = 500

[[limits]]
space = "ovsnet"
addresses = 10000

[rules.agent]
allow = ["example.com tcp/443, 10.1.0.0/16", "from any"]
deny = ["10.2.0.0/16"]

[rules.base]
deny = ["any udp"]
"""

PARSED = Settings(
    plugin_dir=Path("/run/lab/plugins"),
    run_dir=Path("/run/lab"),
    state_dir=Path("/var/lib/lab"),
    ovsdb="tcp:127.0.0.1:6640",
    docker="unix:///run/lab/docker.sock",
    instance="lab",
    bridge="br-lab",
    datapath=Datapath.NETDEV,
    vlans=(100, 199),
    bridges=(BridgeRange(name="br-phys", vlans=(200, 299)),),
    mtu=1400,
    spaces=("blue", "red"),
    pools=(
        DefaultPool(base=IPNetwork("10.64.0.0/10"), size=26),
        DefaultPool(base=IPNetwork("fd00::/32"), size=64),
    ),
    exclude=(IPNetwork("10.128.7.0/24"), IPNetwork("fd6f:7673:1::/48")),
    limits=(
        SpaceLimit(space="blue", pools=4, addresses=500),
        SpaceLimit(space="ovsnet", addresses=10000),
    ),
    rules=(
        RuleSet(
            name="agent",
            allow=access_words.parse("example.com tcp/443, 10.1.0.0/16, from any"),
            deny=access_words.parse("10.2.0.0/16"),
        ),
        RuleSet(name="base", deny=access_words.parse("any udp")),
    ),
    outside_bridges=("br0",),
    name_servers=(IPAddress("192.0.2.53"),),
    view_group="lookers",
    metrics="networks",
    metrics_listen=("127.0.0.1", 9821),
    deadline_s=5.5,
    log_level="debug",
)


RULES = (
    '{agent={allow=["example.com tcp/443","10.1.0.0/16","from any"],deny=["10.2.0.0/16"]},'
    'base={deny=["any udp"]}}'
)
LIMITS = '[{space="blue",pools=4,addresses=500}, {space="ovsnet",addresses=10000}]'


@pytest.fixture(autouse=True)
def no_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's own file does not matter to these tests."""
    path = tmp_path / "default.toml"
    monkeypatch.setattr(config, "DEFAULT_PATH", path)
    return path


def from_text(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "ovsnet.toml"
    path.write_text(text)
    return config.load(path, environ={})


def refusal(**arguments: object) -> str:
    arguments.setdefault("environ", {})
    with pytest.raises(ConfigurationError) as caught:
        config.load(**arguments)  # type: ignore[arg-type]
    return str(caught.value)


def file_refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "ovsnet.toml"
    path.write_text(text)
    shown = refusal(path=path)
    assert shown.startswith(str(path))
    return shown.removeprefix(str(path))


def test_without_anything_the_defaults_hold():
    assert config.load(environ={"PATH": "/bin", "HOME": "/root"}) == Settings()


def test_the_default_file_is_read_if_it_is_there(no_default_file: Path):
    no_default_file.write_text("mtu = 1400\n")
    assert config.load(environ={}).mtu == 1400


def test_a_file_may_say_everything(tmp_path: Path):
    assert from_text(tmp_path, WHOLE) == PARSED


def test_an_empty_file_says_nothing(tmp_path: Path):
    assert from_text(tmp_path, "") == Settings()


def test_variables_may_say_everything():
    assert (
        config.load(
            environ={
                "OVSNET_PLUGIN_DIR": "/run/lab/plugins",
                "OVSNET_RUN_DIR": "/run/lab",
                "OVSNET_STATE_DIR": "/var/lib/lab",
                "OVSNET_OVSDB": "tcp:127.0.0.1:6640",
                "OVSNET_DOCKER": "unix:///run/lab/docker.sock",
                "OVSNET_INSTANCE": "lab",
                "OVSNET_BRIDGE": "br-lab",
                "OVSNET_DATAPATH": "NETDEV",
                "OVSNET_VLANS": "100-199",
                "OVSNET_BRIDGES": '[{name="br-phys", vlans=[200, 299]}]',
                "OVSNET_MTU": "1400",
                "OVSNET_SPACES": "blue, red",
                "OVSNET_POOLS": '[{base="10.64.0.0/10",size=26},{base="fd00::/32",size=64}]',
                "OVSNET_EXCLUDE": "10.128.7.0/24 fd6f:7673:1::/48",
                "OVSNET_LIMITS": LIMITS,
                "OVSNET_RULES": RULES,
                "OVSNET_OUTSIDE_BRIDGES": "br0",
                "OVSNET_NAME_SERVERS": "192.0.2.53",
                "OVSNET_VIEW_GROUP": "lookers",
                "OVSNET_METRICS": "networks",
                "OVSNET_METRICS_LISTEN": "127.0.0.1:9821",
                "OVSNET_DEADLINE_S": "5.5",
                "OVSNET_LOG_LEVEL": "Debug",
            }
        )
        == PARSED
    )


def test_flags_may_say_everything():
    assert (
        config.load(
            environ={},
            flags={
                "plugin_dir": Path("/run/lab/plugins"),
                "run_dir": "/run/lab",
                "state_dir": "/var/lib/lab",
                "ovsdb": "tcp:127.0.0.1:6640",
                "docker": "unix:///run/lab/docker.sock",
                "instance": "lab",
                "bridge": "br-lab",
                "datapath": "netdev",
                "vlans": "100-199",
                "bridges": '[{name="br-phys",vlans=[200,299]}]',
                "mtu": 1400,
                "spaces": ("blue", "red"),
                "pools": [{"base": "10.64.0.0/10", "size": 26}, {"base": "fd00::/32", "size": 64}],
                "exclude": "10.128.7.0/24,fd6f:7673:1::/48",
                "limits": LIMITS,
                "rules": RULES,
                "outside_bridges": ["br0"],
                "name_servers": ["192.0.2.53"],
                "view_group": "lookers",
                "metrics": "networks",
                "metrics_listen": "127.0.0.1:9821",
                "deadline_s": 5.5,
                "log_level": "debug",
            },
        )
        == PARSED
    )


def test_variables_hold_over_the_file_and_flags_over_both(tmp_path: Path):
    path = tmp_path / "ovsnet.toml"
    path.write_text('mtu = 1000\nbridge = "file"\ninstance = "file"\n')
    loaded = config.load(
        path,
        environ={"OVSNET_BRIDGE": "variable", "OVSNET_INSTANCE": "variable"},
        flags={"instance": "flag", "bridge": None},
    )
    assert (loaded.mtu, loaded.bridge, loaded.instance) == (1000, "variable", "flag")


def test_a_variable_names_the_file_unless_a_flag_does(tmp_path: Path):
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("mtu = 1001\n")
    other.write_text("mtu = 1002\n")
    environ = {"OVSNET_CONFIG": str(one)}
    assert config.load(environ=environ).mtu == 1001
    assert config.load(other, environ=environ).mtu == 1002


def test_the_processes_own_environment_is_read_if_none_is_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OVSNET_MTU", "1234")
    assert config.load().mtu == 1234


def test_a_range_of_vlans_may_be_written_as_a_list(tmp_path: Path):
    assert from_text(tmp_path, "vlans = [100, 199]\n").vlans == (100, 199)


def test_swarms_own_space_may_be_limited():
    loaded = config.load(environ={"OVSNET_LIMITS": '[{space="ovsnet-global", pools=3}]'})
    assert loaded.limits == (SpaceLimit(space="ovsnet-global", pools=3),)


def test_a_space_may_have_one_limit_only():
    twice = '[{space="a",pools=1}, {space="a",pools=2}]'
    assert refusal(environ={"OVSNET_LIMITS": twice}) == (
        "OVSNET_LIMITS[1]: space a is in the list twice"
    )


def test_an_empty_list_is_a_list(tmp_path: Path):
    assert from_text(tmp_path, "pools = []\n").pools == ()
    assert config.load(environ={"OVSNET_SPACES": ""}).spaces == ()


def test_a_file_that_was_named_must_be_there(tmp_path: Path):
    assert refusal(path=tmp_path / "x.toml") == f"{tmp_path}/x.toml: there is no such file"
    environ = {"OVSNET_CONFIG": str(tmp_path / "y.toml")}
    assert refusal(environ=environ) == f"{tmp_path}/y.toml: there is no such file"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path):
    assert refusal(path=tmp_path) == f"{tmp_path} cannot be read: Is a directory"


def test_a_second_file_beside_the_first_has_what_is_secret(tmp_path: Path):
    path, secret = tmp_path / "ovsnet.toml", tmp_path / "ovsnet.secret.toml"
    path.write_text("mtu = 1001\n")
    secret.write_text('instance = "other"\n')
    loaded = config.load(path, environ={})
    assert (loaded.mtu, loaded.instance) == (1001, "other")
    secret.write_text("mtu = 1002\n")
    assert refusal(path=path) == f"{secret}: mtu is in {path}, too; leave it out of one file"


def test_who_may_not_read_secrets_does_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, secret = tmp_path / "ovsnet.toml", tmp_path / "ovsnet.secret.toml"
    path.write_text("mtu = 1001\n")
    secret.write_text('instance = "other"\n')
    read = Path.read_text

    def forbidden(file: Path, encoding: str) -> str:
        if file == secret:
            raise PermissionError(13, "Permission denied")
        return read(file, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", forbidden)
    loaded = config.load(path, environ={})
    assert (loaded.mtu, loaded.instance) == (1001, "ovsnet")


def test_a_default_file_that_is_broken_is_not_passed_over(no_default_file: Path):
    no_default_file.write_text("mtu = = 3")
    assert "is not TOML" in refusal()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mtu 1500", " is not TOML: Expected '=' after a key"),
        ("mut = 1500", ": mut: no such setting; did you mean `mtu`?"),
        ("plugin-dir = '/run'", ": plugin-dir: no such setting; did you mean `plugin_dir`?"),
        ("[server]\nmtu = 5", ": server: no such setting"),
        ("mtu = 67", ': mtu: "67" is not an MTU in bytes: 68 to 65535'),
        ("mtu = true", ": mtu: not a BYTES"),
        ("mtu = [1500]", ": mtu: not a BYTES"),
        ("run_dir = 'run'", ': run_dir: "run" is not an absolute path'),
        ("ovsdb = '/run/db.sock'", ': ovsdb: "/run/db.sock" is not an OVSDB address; write it'),
        ("ovsdb = 'tcp:host'", ": ovsdb: "),
        ("ovsdb = 'tcp:h:70000'", ": ovsdb: "),
        ("ovsdb = 'ssl:h:1'", ": ovsdb: "),
        ("docker = '/run/docker.sock'", ": docker: "),
        ("instance = 'My Lab'", ": instance: "),
        ("bridge = 'a-bridge-with-a-name'", ": bridge: "),
        ("datapath = 'dpdk'", ': datapath: "dpdk" is none of `system`, `netdev`'),
        ("vlans = '0-10'", ': vlans: "0-10" is not a range of VLAN ids; write it like 100-199'),
        ("vlans = '20-10'", ": vlans: "),
        ("vlans = '1-4095'", ": vlans: "),
        ("vlans = 5", ": vlans: "),
        ("spaces = 'blue'", ": spaces: not a list"),
        ("spaces = ['a', 'b/c']", ': spaces[1]: "b/c" cannot name an address space'),
        ("spaces = ['a', 'a']", ": spaces[1]: is in the list twice"),
        ("spaces = ['ovsnet']", ': spaces[0]: "ovsnet" is the default space'),
        ("spaces = ['a-global']", ": spaces[0]: "),
        (
            "exclude = ['10.0.0.5/24']",
            ': exclude[0]: "10.0.0.5/24" has host bits; write 10.0.0.0/24',
        ),
        ("exclude = [5]", ": exclude[0]: "),
        ("pools = ['10.0.0.0/8:24']", ": pools[0]: not a {base=SUBNET,size=LENGTH}"),
        (
            "[[pools]]\nbase = '10.0.0.0/8'\nsize = 31",
            ': pools[0]: "31" is not a prefix length inside 10.0.0.0/8: 8 to',
        ),
        ("[[pools]]\nbase = '10.0.0.0/16'\nsize = 8", ': pools[0]: "8" is not a prefix length'),
        ("[[pools]]\nbase = '10.0.0.1/16'\nsize = 24", ': pools[0]: "10.0.0.1/16" has host bits'),
        ("[[pools]]\nbase = '10.0.0.0/8'", ": pools[0]: not a pool; it has a `base` and a `size`"),
        ("vlans = [5]", ": vlans: not the first and the last VLAN id; write it like [100, 199]"),
        ("vlans = [0, 10]", ': vlans: "0-10" is not a range of VLAN ids'),
        ("vlans = [true, false]", ': vlans: "True-False" is not a range of VLAN ids'),
        ("pools = [['10.0.0.0/8', 24]]", ": pools[0]: not a {base"),
        ("[[pools]]\nbase = '10.0.0.0/8'\nsiez = 24", ": pools[0]: not a pool; it has"),
        ("[pools]\nbase = '10.0.0.0/8'", ": pools: not a list"),
        ("limits = 'a:1:1'", ": limits: not a list"),
        ("limits = ['a:1:1']", ": limits[0]: not a {space=NAME,pools=N,addresses=N}"),
        ("[[limits]]\nspace = 'a'\npools = 0", ': limits[0]: "0" is not a number of pools: 1 to'),
        (
            "[[limits]]\nspace = 'a'\naddresses = 'x'",
            ': limits[0]: "x" is not a number of addresses: 1 to',
        ),
        (
            "[[limits]]\nspace = 'a/b'\npools = 1",
            ': limits[0]: "a/b" cannot name an address space',
        ),
        (
            "limits = [{space='a',pools=1}, {space='b',pools=1}, {space='a',addresses=5}]",
            ": limits[2]: space a is in the list twice",
        ),
        ("rules = []", ": rules: not a {NAME={allow=[RULE],deny=[RULE]}}"),
        ("[rules.'a b']\nallow = ['any']", ': rules: "a b" cannot be used here'),
        ("[rules.agent]", ": rules: agent: not rules; they have `allow` or `deny`"),
        ("[rules.agent]\nalow = ['any']", ": rules: agent: not rules; they have"),
        ("[rules.agent]\nallow = 'any'", ": rules: agent.allow: not a list of rules"),
        ("[rules.agent]\ndeny = ['web']", ': rules: agent.deny: "web" names nobody'),
        ("[[limits]]\npools = 4", ": limits[0]: not a limit; it has a `space`, and `pools` or"),
        ("[[limits]]\nspace = 'a'\npool = 4", ": limits[0]: not a limit; it has a `space`"),
        ("[[limits]]\nspace = 'a'\npools = true", ': limits[0]: "True" is not a number of pools'),
        ("[[limits]]\nspace = 'a'", ": limits[0]: not a limit; it has a `space`, and `pools` or"),
        ("[limits]\nspace = 'a'", ": limits: not a list"),
        ("limits = [['a', 1, 1]]", ": limits[0]: not a {space"),
        ("[[bridges]]\nname = 'br0'", ": bridges[0]: not a bridge; it has a `name` and `vlans`"),
        (
            "[[bridges]]\nname = 'br0'\nvlans = [9, 5]",
            ': bridges[0]: "9-5" is not a range of VLAN ids',
        ),
        ("bridges = ['br0:5-9']", ": bridges[0]: not a {name=NAME,vlans=[FIRST,LAST]}"),
        ("mtu = 2020-01-01", ": mtu: not a BYTES"),
        ("outside_bridges = ['a b']", ": outside_bridges[0]: "),
        ("name_servers = ['one']", ': name_servers[0]: "one" is not an address'),
        ("metrics = 'ports'", ': metrics: "ports" is none of `containers`, `networks`'),
        ("metrics_listen = '9821'", ': metrics_listen: "9821" is not an address and a port'),
        ("metrics_listen = '127.0.0.1:0'", ': metrics_listen: "127.0.0.1:0" is not an address'),
        ("metrics_listen = '1.2.3:80'", ': metrics_listen: "1.2.3:80" is not an address'),
        ("view_group = 'a b'", ': view_group: "a b" cannot name a group of this host'),
        ("deadline_s = 0", ': deadline_s: "0" is not a number of seconds: 1 to 300'),
        ("deadline_s = 301", ": deadline_s: "),
        ("deadline_s = inf", ": deadline_s: "),
        ("deadline_s = 'soon'", ": deadline_s: "),
        ("log_level = 'loud'", ': log_level: "loud" is none of `debug`, `info`'),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(tmp_path: Path, text: str, shown: str):
    assert file_refusal(tmp_path, text).startswith(shown)


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path):
    path = tmp_path / "ovsnet.toml"
    path.write_bytes(b'bridge = "\xff"')
    assert refusal(path=path) == f"{path}: byte 10 is not UTF-8"


def test_a_wrong_variable_is_refused_by_its_name():
    assert refusal(environ={"OVSNET_MTU": "big"}).startswith('OVSNET_MTU: "big" is not an MTU')
    assert refusal(environ={"OVSNET_POOLS": "10.0.0.0/8:24"}) == (
        "OVSNET_POOLS: not TOML; write it like [{base=SUBNET,size=LENGTH}]"
    )
    assert refusal(environ={"OVSNET_SPACES": "a,b/c"}).startswith('OVSNET_SPACES[1]: "b/c"')


def test_an_unknown_variable_is_refused_with_the_nearest():
    assert refusal(environ={"OVSNET_PLUGINDIR": "/x"}) == (
        "OVSNET_PLUGINDIR: no such setting; did you mean `OVSNET_PLUGIN_DIR`?"
    )


def test_a_wrong_flag_is_refused_by_its_name():
    assert refusal(flags={"run_dir": "lab"}).startswith('--run-dir: "lab" is not an absolute path')
    assert "did you mean `--run-dir`" in refusal(flags={"rundir": "/x"})


def test_the_table_has_each_setting_once():
    names = [row.name for row in config.SETTINGS]
    assert names == [field.name for field in fields(Settings)]
    assert {row.flag for row in config.SETTINGS} >= {"--plugin-dir", "--ovsdb"}
    assert {row.variable for row in config.SETTINGS} >= {"OVSNET_PLUGIN_DIR", "OVSNET_OVSDB"}


def test_the_defaults_would_be_accepted_from_a_file(tmp_path: Path):
    default = Settings()
    pools = ", ".join(f"{{base='{pool.base}',size={pool.size}}}" for pool in default.pools)
    text = (
        f"plugin_dir = '{default.plugin_dir}'\novsdb = '{default.ovsdb}'\n"
        f"docker = '{default.docker}'\ninstance = '{default.instance}'\n"
        f"bridge = '{default.bridge}'\nvlans = '{default.vlans[0]}-{default.vlans[1]}'\n"
        f"mtu = {default.mtu}\npools = [{pools}]\ndeadline_s = {default.deadline_s}\n"
        f"log_level = '{default.log_level}'\n"
    )
    assert from_text(tmp_path, text) == default


def test_what_is_right_of_a_wrong_configuration_is_salvaged(tmp_path: Path):
    path = tmp_path / "ovsnet.toml"
    path.write_text('brigde = "br1"\nspaces = ["blue"]\nvlans = [0, 9]\n')
    settings, fault = config.salvage(
        path, environ={"OVSNET_RUN_DIR": "/r", "OVSNET_MTU": "big"}, flags={"plugin_dir": "/p"}
    )
    assert settings == Settings(plugin_dir=Path("/p"), run_dir=Path("/r"), spaces=("blue",))
    for words in ("brigde: no such setting; did you mean `bridge`?", "vlans", "OVSNET_MTU"):
        assert words in fault


def test_nothing_is_wrong_with_a_right_configuration(tmp_path: Path):
    path = tmp_path / "ovsnet.toml"
    path.write_text("mtu = 1400\n")
    assert config.salvage(path, environ={}) == (Settings(mtu=1400), "")


def test_a_wrong_flag_is_not_salvaged():
    with pytest.raises(CommandLineError, match="--run-dir"):
        config.salvage(environ={}, flags={"run_dir": "lab"})


def test_an_ipam_driver_is_a_spaces_or_a_segments():
    said = refusal(environ={"OVSNET_SPACES": "blue red", "OVSNET_SEGMENTS": "red green"})
    assert "red is among `spaces`" in said
    loaded = config.load(environ={"OVSNET_SPACES": "blue", "OVSNET_SEGMENTS": "red"})
    assert (loaded.spaces, loaded.segments) == (("blue",), ("red",))
