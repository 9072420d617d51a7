"""Settings from file, environment and flags, in this order; the last one that speaks holds.

One table drives all three: the file's key ``plugin_dir``, the variable ``OVSNET_PLUGIN_DIR``, the
flag ``--plugin-dir``. What is not known is refused: a setting that is silently ignored is worse.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from netaddr import AddrFormatError, IPAddress, IPNetwork

from ipam import DEFAULT_SPACE, DefaultPool, SpaceLimit
from ovsdriver.domain.events.event import EventType
from ovsdriver.domain.events.webhooks import Webhook
from ovsdriver.domain.records.options.access import RuleSet
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.errors import CommandLineError, ConfigurationError
from ovsdriver.logs import LEVELS
from ovsdriver.words import access_words, values
from ovsdriver.words.values import quote

DEFAULT_PATH = Path("/etc/ovsnet/ovsnet.toml")

APART = ".secret.toml"
"""End of the name of a second file, beside the first one, for settings that not everybody may read:
``ovsnet.secret.toml``. Whoever may not read it gets along without them."""

PREFIX = "OVSNET_"
PATH_VARIABLE = f"{PREFIX}CONFIG"
"""Names the file, as ``--config`` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRange:
    """First and last tag for automatic choice on one bridge, ours or not."""

    name: str
    vlans: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured."""

    plugin_dir: Path = Path("/run/docker/plugins")
    run_dir: Path = Path("/run/ovsnet")
    state_dir: Path = Path("/var/lib/ovsnet")
    ovsdb: str = "unix:/run/openvswitch/db.sock"
    """``unix:PATH`` or ``tcp:HOST:PORT``."""
    docker: str = "unix:///run/docker.sock"
    """Docker's API, read in the background for names and orphans."""
    instance: str = "ovsnet"
    """Names our marks and our nftables table: two instances in one namespace need two names."""
    bridge: str = "br-ovsnet"
    """The bridge of networks that name none."""
    datapath: Datapath | None = None
    """None: ``system`` where the kernel has openvswitch, else ``netdev``."""
    vlans: tuple[int, int] = (1, 4094)
    """First and last tag for automatic choice on our own bridges."""
    bridges: tuple[BridgeRange, ...] = ()
    """At most one for each bridge."""
    mtu: int = 1500
    spaces: tuple[str, ...] = ()
    """Each NAME is also served as IPAM driver ``ovsipam-NAME`` with that default space."""
    pools: tuple[DefaultPool, ...] = (
        DefaultPool(base=IPNetwork("172.24.0.0/13"), size=24),
        DefaultPool(base=IPNetwork("10.128.0.0/9"), size=24),
        DefaultPool(base=IPNetwork("fd6f:7673::/32"), size=64),
    )
    exclude: tuple[IPNetwork, ...] = ()
    """Never given out by automatic choice."""
    limits: tuple[SpaceLimit, ...] = ()
    """At most one for each space."""
    outside_bridges: tuple[str, ...] = ()
    """Linux bridges that lead outside (an uplink's) rather than to other containers."""
    ovn_northbound: tuple[str, ...] = ()
    """Servers of OVN's northbound database, ``tcp:`` or ``ssl:ADDRESS:PORT``; none: no fleet."""
    ovn_private_key: Path | None = None
    ovn_certificate: Path | None = None
    ovn_ca: Path | None = None
    segments: tuple[str, ...] = ()
    """Each NAME is also served as IPAM driver ``ovsipam-NAME``, for networks on that segment."""
    webhooks: tuple[Webhook, ...] = ()
    """Whom events are sent to."""
    rules: tuple[RuleSet, ...] = ()
    """Access rules that ``ovs.rules`` names."""
    name_servers: tuple[IPAddress, ...] = ()
    """Whom containers with DNS names in their rules may ask, and are answered for; none: all."""
    view_group: str = ""
    """Its members may look, on view.sock; none: root alone."""
    metrics: str = "containers"
    """Of which Prometheus is told the traffic: ``containers``, or ``networks`` as a whole."""
    metrics_listen: tuple[str, int] | None = None
    """Where ``/metrics`` and nothing else is answered over TCP; None: nowhere."""
    deadline_s: float = 10.0
    """For each call of Docker's."""
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table."""

    name: str
    """Attribute of ``Settings`` and key in the file."""
    parse: Callable[[Any], object]
    """Text, or what else ``takes`` names, to value; ValueError with a sentence about it."""
    help: str
    many: bool = False
    """A list in the file, words between commas elsewhere; of tables TOML everywhere."""
    shape: str = "VALUE"
    """What a value looks like, for ``--help``."""
    takes: type = str
    """What the file may have beside a text or a number; a dict: nothing beside a table."""
    subject: Callable[[Any], str] | None = None
    """What one of many is about, which no other one may be."""

    @property
    def variable(self) -> str:
        """Name in the environment."""
        return f"{PREFIX}{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Name on the command line."""
        return f"--{self.name.replace('_', '-')}"


_INSTANCE = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[0-9.]+):([0-9]{1,5})")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_RANGE = re.compile(r"([0-9]{1,4})-([0-9]{1,4})")
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_TCP = re.compile(r"tcp:(\[[0-9A-Fa-f:]+\]|[^:\s\[\]]+):([0-9]{1,5})")
_SERVER = re.compile(r"(?:tcp|ssl):(?:\[[0-9A-Fa-f:]+\]|[^:\s\[\]]+):([0-9]{1,5})")


def _absolute(text: str) -> Path:
    if not text.startswith("/") or not text.isprintable():
        raise ValueError(f"{quote(text)} is not an absolute path; write it like /run/ovsnet")
    return Path(text)


def _ovsdb(text: str) -> str:
    tcp = _TCP.fullmatch(text)
    if tcp and 1 <= int(tcp[2]) <= 65535:
        return text
    if text.startswith("unix:/") and text.isprintable():
        return text
    raise ValueError(
        f"{quote(text)} is not an OVSDB address; write it like unix:/run/openvswitch/db.sock or "
        "tcp:127.0.0.1:6640"
    )


def _server(text: str) -> str:
    found = _SERVER.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= 65535:
        raise ValueError(f"{quote(text)} is not a server of OVN; write it like ssl:192.0.2.1:6641")
    return text


def _docker(text: str) -> str:
    if not re.fullmatch(r"unix:///\S+|tcp://[^\s/]+:[0-9]{1,5}", text):
        raise ValueError(
            f"{quote(text)} is not the address of Docker's API; write it like "
            "unix:///run/docker.sock or tcp://127.0.0.1:2375"
        )
    return text


def _instance(text: str) -> str:
    if not _INSTANCE.fullmatch(text):
        raise ValueError(
            f"{quote(text)} cannot name an instance; use at most 32 lower-case letters, digits, "
            "`-` and `_`, a letter first"
        )
    return text


def _datapath(text: str) -> Datapath:
    return values.word(text, {datapath.value: datapath for datapath in Datapath})


def _vlans(given: str | list[object]) -> tuple[int, int]:
    text = given
    if isinstance(given, list):
        if len(given) != 2:
            raise ValueError("not the first and the last VLAN id; write it like [100, 199]")
        text = f"{given[0]}-{given[1]}"
    parts = _RANGE.fullmatch(str(text))
    first, last = (int(parts[1]), int(parts[2])) if parts else (0, 0)
    if not 1 <= first <= last <= 4094:
        raise ValueError(f"{quote(str(text))} is not a range of VLAN ids; write it like 100-199")
    return first, last


def _bridge_range(bridge: Mapping[str, Any]) -> BridgeRange:
    if set(bridge) != {"name", "vlans"}:
        raise ValueError("not a bridge; it has a `name` and `vlans`, and nothing else")
    return BridgeRange(name=values.link_name(str(bridge["name"])), vlans=_vlans(bridge["vlans"]))


def _space(text: str) -> str:
    if text == DEFAULT_SPACE:
        raise ValueError(f"{quote(text)} is the default space, which ovsipam.sock serves")
    return values.space(text)


def _subnet(text: str) -> IPNetwork:
    found = values.subnet(text)
    if found != found.cidr or found.ip != found.cidr.ip:
        raise ValueError(f"{quote(text)} has host bits; write {found.cidr}")
    return found


def _default_pool(pool: Mapping[str, Any]) -> DefaultPool:
    if set(pool) != {"base", "size"}:
        raise ValueError("not a pool; it has a `base` and a `size`, and nothing else")
    base = _subnet(str(pool["base"]))
    # The last two lengths of each family have no room for a gateway and a container.
    most = 30 if base.version == 4 else 126
    size = values.integer(str(pool["size"]), base.prefixlen, most, f"a prefix length inside {base}")
    return DefaultPool(base=base, size=size)


def _limit(limit: Mapping[str, Any]) -> SpaceLimit:
    most = {
        what: values.integer(str(limit[what]), 1, 10**9 - 1, f"a number of {what}")
        for what in ("pools", "addresses")
        if what in limit
    }
    if set(limit) != {"space", *most} or not most:
        raise ValueError(
            "not a limit; it has a `space`, and `pools` or `addresses` or both, and nothing else"
        )
    space = str(limit["space"])
    values.space(space.removesuffix("-global"))  # swarm's own have that end
    return SpaceLimit(space=space, **most)


def _webhook(hook: Mapping[str, Any]) -> Webhook:
    if not {"url", "secret"} <= set(hook) <= {"url", "secret", "types"}:
        raise ValueError(
            "not a webhook; it has a `url`, a `secret` and perhaps `types`, and nothing else"
        )
    secret = str(hook["secret"])
    if not 16 <= len(secret) <= 256 or not secret.isascii() or not secret.isprintable():
        raise ValueError(
            "its secret is not 16 to 256 printable ASCII characters; make one with "
            "`openssl rand -hex 32`"
        )
    types = hook.get("types", [])
    if not isinstance(types, list):
        raise ValueError("its types are not a list; write them like ['link', 'repair']")  # noqa: TRY004
    return Webhook(url=_url(str(hook["url"])), types=tuple(map(_event_type, types)), secret=secret)


def _rules(tables: Mapping[str, Any]) -> tuple[RuleSet, ...]:
    return tuple(_rule_set(name, table) for name, table in tables.items())


def _rule_set(name: str, table: object) -> RuleSet:
    word = access_words.set_name(name)
    if not isinstance(table, dict) or not table or not set(table) <= {"allow", "deny"}:
        raise ValueError(f"{word}: not rules; they have `allow` or `deny` or both, as lists")
    found = {}
    for key, given in table.items():
        if not isinstance(given, list):
            raise ValueError(f"{word}.{key}: not a list of rules")  # noqa: TRY004
        try:
            found[key] = access_words.parse(map(str, given))
        except ValueError as error:
            raise ValueError(f"{word}.{key}: {error}") from error
    return RuleSet(name=word, **found)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        place = parts.hostname if parts.port is None or parts.port > 0 else None
    except ValueError:
        place, parts = None, urlsplit("")
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= 2000
    if parts.scheme not in ("http", "https") or not place or parts.fragment or not plain:
        raise ValueError(
            f"{quote(text[:100])} is not where events can be sent; write it like "
            "https://hooks.example/ovsnet"
        )
    return text


def _event_type(given: object) -> str:
    text = str(given)
    if text.partition(".")[0] not in tuple(EventType):
        raise ValueError(f"{quote(text)} is no type of events: {', '.join(EventType)}")
    return text


def _seconds(text: str) -> float:
    seconds = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 1 <= seconds <= 300:
        raise ValueError(f"{quote(text)} is not a number of seconds: 1 to 300")
    return seconds


def _group(text: str) -> str:
    if not _GROUP.fullmatch(text):
        raise ValueError(f"{quote(text)} cannot name a group of this host")
    return text


def _metrics(text: str) -> str:
    return values.word(text, {each: each for each in ("containers", "networks")})


def _address(text: str) -> IPAddress:
    try:
        return IPAddress(text)
    except (AddrFormatError, ValueError):
        raise ValueError(f"{quote(text)} is not an address; write it like 192.0.2.53") from None


def _listening(text: str) -> tuple[str, int]:
    found = _ENDPOINT.fullmatch(text)
    try:
        if found and 1 <= int(found[2]) <= 65535:
            return str(IPAddress(found[1].strip("[]"))), int(found[2])
    except AddrFormatError:
        pass
    raise ValueError(
        f"{quote(text)} is not an address and a port of this host; write it like 127.0.0.1:9821"
    )


def _level(text: str) -> str:
    return values.word(text, {level: level for level in LEVELS})


SETTINGS: Sequence[Setting] = (
    Setting(
        name="plugin_dir",
        parse=_absolute,
        shape="DIR",
        help="Where Docker looks for the sockets of plugins.",
    ),
    Setting(
        name="run_dir",
        parse=_absolute,
        shape="DIR",
        help="Directory of the admin and the view socket.",
    ),
    Setting(name="state_dir", parse=_absolute, shape="DIR", help="The database's directory."),
    Setting(
        name="ovsdb",
        parse=_ovsdb,
        shape="ADDRESS",
        help="Open vSwitch's database, unix:PATH or tcp:HOST:PORT.",
    ),
    Setting(
        name="docker",
        parse=_docker,
        shape="ADDRESS",
        help="Docker's API, read in the background for names and orphans.",
    ),
    Setting(
        name="instance",
        parse=_instance,
        shape="NAME",
        help="Name in ovsnet's marks and of its nftables table; two on one host need two.",
    ),
    Setting(
        name="bridge",
        parse=values.link_name,
        shape="NAME",
        help="Bridge for networks that name none.",
    ),
    Setting(
        name="datapath",
        parse=_datapath,
        shape="TYPE",
        help="Datapath of bridges that ovsnet makes, system or netdev; default: what the host has.",
    ),
    Setting(
        name="vlans",
        parse=_vlans,
        shape="FIRST-LAST",
        takes=list,
        help="VLAN ids for automatic choice on bridges that ovsnet makes.",
    ),
    Setting(
        name="bridges",
        parse=_bridge_range,
        many=True,
        shape="{name=NAME,vlans=[FIRST,LAST]}",
        takes=dict,
        subject=lambda bridge: f"bridge {bridge.name}",
        help="VLAN ids for automatic choice on single bridges, adopted or with an uplink as well.",
    ),
    Setting(
        name="mtu",
        parse=values.mtu,
        shape="BYTES",
        help="MTU of networks without ovs.mtu and without an uplink.",
    ),
    Setting(
        name="spaces",
        parse=_space,
        many=True,
        shape="NAME",
        help="Address spaces; each NAME is also an IPAM driver, ovsipam-NAME.",
    ),
    Setting(
        name="pools",
        parse=_default_pool,
        many=True,
        shape="{base=SUBNET,size=LENGTH}",
        takes=dict,
        help="Where automatic subnets come from, and their prefix length.",
    ),
    Setting(
        name="exclude",
        parse=_subnet,
        many=True,
        shape="SUBNET",
        help="Never given out by automatic choice.",
    ),
    Setting(
        name="limits",
        parse=_limit,
        many=True,
        shape="{space=NAME,pools=N,addresses=N}",
        takes=dict,
        subject=lambda limit: f"space {limit.space}",
        help="How many pools and addresses a space may hold; left out: any number.",
    ),
    Setting(
        name="outside_bridges",
        parse=values.link_name,
        many=True,
        shape="NAME",
        help="Linux bridges that lead outside (an uplink's) rather than to other containers.",
    ),
    Setting(
        name="ovn_northbound",
        parse=_server,
        many=True,
        shape="ssl:ADDRESS:PORT",
        help="Servers of OVN's northbound database, for segments over several hosts.",
    ),
    Setting(
        name="ovn_private_key",
        parse=_absolute,
        shape="FILE",
        help="Private key of this host, for ssl: servers.",
    ),
    Setting(
        name="ovn_certificate",
        parse=_absolute,
        shape="FILE",
        help="Certificate of this host, for ssl: servers.",
    ),
    Setting(
        name="ovn_ca",
        parse=_absolute,
        shape="FILE",
        help="Certificate of the authority that signs for all hosts and servers.",
    ),
    Setting(
        name="segments",
        parse=values.segment,
        many=True,
        shape="NAME",
        help="Segments over several hosts; each NAME is also an IPAM driver, ovsipam-NAME.",
    ),
    Setting(
        name="webhooks",
        parse=_webhook,
        many=True,
        shape="{url=URL,types=[TYPE],secret=TEXT}",
        takes=dict,
        subject=lambda webhook: f"webhook {webhook.shown}",
        help="Where events are sent, as CloudEvents that are signed with the secret.",
    ),
    Setting(
        name="rules",
        parse=_rules,
        shape="{NAME={allow=[RULE],deny=[RULE]}}",
        takes=dict,
        help="Sets of access rules, [rules.NAME], for ovs.rules.",
    ),
    Setting(
        name="name_servers",
        parse=_address,
        many=True,
        shape="ADDRESS",
        help="Whom containers with DNS names in rules may ask; ovsnet answers in their place.",
    ),
    Setting(
        name="view_group",
        parse=_group,
        shape="NAME",
        help="Group whose members may look, by view.sock in the run directory; default: root only.",
    ),
    Setting(
        name="metrics",
        parse=_metrics,
        shape="WHAT",
        help="Of what Prometheus is told the traffic: containers or networks.",
    ),
    Setting(
        name="metrics_listen",
        parse=_listening,
        shape="ADDRESS:PORT",
        help="Answers /metrics, and nothing else, over TCP; default: nowhere.",
    ),
    Setting(
        name="deadline_s",
        parse=_seconds,
        shape="SECONDS",
        help="Time for one call of Docker's; Open vSwitch and the kernel have half of it.",
    ),
    Setting(
        name="log_level",
        parse=_level,
        shape="LEVEL",
        help="debug, info, warning or error.",
    ),
)

_BY_NAME = {row.name: row for row in SETTINGS}


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Return the settings.

    Args:
        path: the file that was named; it must exist. None: ``OVSNET_CONFIG``, else the default
            file, which may be missing.
        environ: only names that begin with ``OVSNET_`` are looked at; None: the process's own.
        flags: by name of setting; None is a flag that was not given. Values are texts, or lists
            of texts for settings that have many.

    Raises:
        ConfigurationError: with the place, file, variable or flag, that is wrong.
    """
    settings, faults = _read(path, environ, flags)
    if faults:
        raise faults[0]
    return settings


def salvage(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> tuple[Settings, str]:
    """Return what is right of the settings, and a sentence about what is not, empty if all is.

    For who must answer all the same. Arguments as of ``load``.

    Raises:
        CommandLineError: a flag is wrong.
    """
    settings, faults = _read(path, environ, flags)
    return settings, "; ".join(map(str, faults))


def _read(
    path: Path | None,
    environ: Mapping[str, str] | None,
    flags: Mapping[str, object] | None,
) -> tuple[Settings, Sequence[ConfigurationError]]:
    """Return everything that is right, and what is not; CommandLineError for a flag."""
    variables = os.environ if environ is None else environ
    faults: list[ConfigurationError] = []
    given: dict[str, Any] = {}
    given.update(_from_file(path, variables, faults))
    given.update(_from_environment(variables, faults))
    try:
        given.update(_from_flags(flags or {}))
    except ConfigurationError as error:
        raise CommandLineError(str(error)) from error
    settings = Settings(**given)
    twice = sorted(set(settings.spaces) & set(settings.segments))
    if twice:
        faults.append(
            ConfigurationError(
                f"segments: {twice[0]} is among `spaces`, too, and ovsipam-{twice[0]} can be one "
                "driver only; leave it out of one list"
            )
        )
    return settings, faults


def _from_file(
    path: Path | None, environ: Mapping[str, str], faults: list[ConfigurationError]
) -> Mapping[str, object]:
    named = path
    if named is None and environ.get(PATH_VARIABLE):
        named = Path(environ[PATH_VARIABLE])
    file = named or DEFAULT_PATH
    found: dict[str, object] = {}
    for each, needed in ((file, named is not None), (file.parent / f"{file.stem}{APART}", False)):
        try:
            content = _content(each, needed=needed)
        except ConfigurationError as error:
            faults.append(error)
            continue
        for key, item in content.items():
            place = f"{each}: {key}"
            if key in found:
                twice = f"{place} is in {file}, too; leave it out of one file"
                faults.append(ConfigurationError(twice))
                continue
            try:
                found[key] = _value(_row(key, place), item, place)
            except ConfigurationError as error:
                faults.append(error)
    return found


def _content(file: Path, *, needed: bool) -> Mapping[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not needed:
            return {}
        raise ConfigurationError(f"{file}: there is no such file") from error
    except OSError as error:
        # who may only look gets along without secrets
        if isinstance(error, PermissionError) and file.name.endswith(APART):
            return {}
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: byte {error.start} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from error


def _from_environment(
    environ: Mapping[str, str], faults: list[ConfigurationError]
) -> Mapping[str, object]:
    found = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == PATH_VARIABLE:
            continue
        try:
            row = _row(variable.removeprefix(PREFIX).lower(), variable, lambda row: row.variable)
            found[row.name] = _value(row, _words(row, text, variable), variable)
        except ConfigurationError as error:
            faults.append(error)
    return found


def _from_flags(flags: Mapping[str, object]) -> Mapping[str, object]:
    found = {}
    for name, item in flags.items():
        if item is not None:
            row = _row(name, name, lambda row: row.flag)
            given = _words(row, item, row.flag) if isinstance(item, str) else item
            found[row.name] = _value(row, given, row.flag)
    return found


def _row(
    name: str, place: str, written: Callable[[Setting], str] = lambda row: row.name
) -> Setting:
    row = _BY_NAME.get(name)
    if row is None:
        near = values.nearest(name, _BY_NAME)
        for known in SETTINGS:
            near = near.replace(f"`{known.name}`", f"`{written(known)}`")
        raise ConfigurationError(f"{place}: no such setting{near}")
    return row


def _words(row: Setting, text: str, place: str) -> object:
    if row.takes is dict:
        try:
            return tomllib.loads(f"{row.name} = {text}")[row.name]
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{place}: not TOML; write it like [{row.shape}]") from error
    return [word for word in re.split(r"[\s,]+", text) if word] if row.many else text


def _value(row: Setting, item: object, place: str) -> object:
    if row.many:
        if not isinstance(item, Iterable) or isinstance(item, str | Mapping):
            raise ConfigurationError(f"{place}: not a list")
        parsed = [_one(row, each, f"{place}[{index}]") for index, each in enumerate(item)]
        for index, each in enumerate(parsed):
            if each in parsed[:index]:
                raise ConfigurationError(f"{place}[{index}]: is in the list twice")
        if row.subject is not None:
            subjects = [row.subject(each) for each in parsed]
            for index, subject in enumerate(subjects):
                if subject in subjects[:index]:
                    raise ConfigurationError(f"{place}[{index}]: {subject} is in the list twice")
        return tuple(parsed)
    return _one(row, item, place)


def _one(row: Setting, item: object, place: str) -> object:
    try:
        if row.takes is not str and isinstance(item, row.takes):
            return row.parse(item)
        plain = isinstance(item, str | int | float | Path) and not isinstance(item, bool)
        if row.takes is dict or not plain:
            raise ConfigurationError(f"{place}: not a {row.shape}")
        return row.parse(str(item))
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from error
