"""All that a test could leave behind on a bed, as lines of text that can be compared."""

import difflib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from ovsdriver.adapters.kernel.reaper import DYING
from tests.e2e.bed import Bed
from tests.e2e.world import until

Snapshot = Mapping[str, list[str]]

# What vswitchd itself writes, and counts.
_VOLATILE = {
    *("_uuid", "_version", "ofport", "ifindex", "link_resets", "link_speed", "link_state"),
    *("admin_state", "duplex", "error", "mac_in_use", "mtu", "statistics", "status"),
    *("cur_cfg", "next_cfg", "datapath_id", "bond_active_slave", "rstp_status"),
    *("rstp_statistics", "datapath_version", "lacp_current", "cfm_fault", "datapaths"),
}


_DEFAULTS = ("", 0, False, ["set", []], ["map", []])

_SHOWN = 30
"""Lines of a difference that are shown of each part: a lost link alone has 150 settings."""
_WIDTH = 400
"""Characters of such a line that are shown: a bridge of OVN's names 255 tables of flows."""


def take(bed: Bed, *, foreign: str = "") -> Snapshot:
    """Return the state of the switch, the links, the leases, the firewall and the rest.

    ``foreign`` is a bridge whose flows are none of ours.
    """
    return {
        "switch": sorted(_switch(bed)),
        "flows": sorted(_flows(bed, foreign)),
        "links": sorted(_links(bed)),
        "queues": sorted(_queues(bed)),
        "routes": sorted(_routes(bed)),
        "settings": sorted(_settings(bed)),
        "sockets": sorted(_sockets(bed)),
        "firewall": _firewall(bed),
        "records": sorted(_records(bed)),
        "docker": sorted(_docker(bed)) if bed.has_docker else [],
        "processes": sorted(_processes(bed)),
        "namespaces": sorted(bed.run("ls", "/run/netns").split()),
    }


def settled(bed: Bed) -> bool:
    """Whether no link waits for its deletion, which comes in batches after its endpoint's end."""
    return not any(link["group"] == str(DYING) for link in _json(bed, "ip", "-json", "link"))


def wait_for(bed: Bed, before: Snapshot, what: str = "") -> None:
    """Wait until a bed is as it was before ``what``; the difference is the failure's text."""
    last: list[str] = []

    def same() -> bool:
        last[:] = [difference(before, take(bed))]
        return not last[0]

    until(same, lambda: f"all is as before {what}\n{last[0]}")


def difference(before: Snapshot, after: Snapshot) -> str:
    """Return what is not as before, a unified diff for each part; empty if nothing."""
    parts: list[str] = []
    for name, lines in before.items():
        diff = [
            *difflib.unified_diff(lines, after[name], f"{name} before", "after", n=0, lineterm="")
        ]
        parts += (line[:_WIDTH] for line in diff[:_SHOWN])
        if len(diff) > _SHOWN:
            parts.append(f"… and {len(diff) - _SHOWN} more lines")
    return "\n".join(parts)


def _processes(bed: Bed) -> Iterator[str]:
    for name in bed.run("ps", "-A", "-o", "comm=").split():
        if not name.startswith("runc"):  # Docker starts one for a moment, for what ends by itself
            yield name


def _switch(bed: Bed) -> Iterator[str]:
    return rows(bed, "unix:/run/openvswitch/db.sock", "Open_vSwitch")


def rows(bed: Bed, *place: str) -> Iterator[str]:
    """Return each row of a database: where it answers, its name, or a table and columns of it."""
    dump = bed.run("ovsdb-client", "--timeout=20", "--format=json", "dump", *place)
    names: dict[str, str] = {}
    tables = [json.loads(line) for line in dump.splitlines() if line]
    found = [
        (table["caption"], dict(zip(table["headings"], row, strict=True)))
        for table in tables
        for row in table["data"]
    ]
    for caption, row in found:
        names[row["_uuid"][1]] = str(row.get("name", caption))
    for caption, row in found:
        stable = {k: v for k, v in row.items() if k not in _VOLATILE and v not in _DEFAULTS}
        text = json.dumps({k: _named(v, names) for k, v in stable.items()}, sort_keys=True)
        text = re.sub(
            r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lambda m: names.get(m[0], "?"), text
        )
        yield f"{caption}: {text}"


def _named(value: Any, names: Mapping[str, str]) -> Any:
    """Put names for references; sets, which come in the order of those, in order of the names."""
    match value:
        case ["uuid", str(uuid)]:
            return ["uuid", names.get(uuid, "?")]
        case ["set", list(items)]:
            return ["set", sorted((_named(each, names) for each in items), key=str)]
    return value


def _flows(bed: Bed, foreign: str) -> Iterator[str]:
    for bridge in set(bed.ovs_vsctl("list-br").split()) - {foreign}:
        for what in (("--no-stats", "dump-flows"), ("dump-groups",), ("dump-meters",)):
            said = bed.attempt("ovs-ofctl", "--timeout=20", "-O", "OpenFlow13", *what, bridge)
            if said.code:  # vswitchd has it not yet, or not any more
                yield f"{bridge} does not answer: {said.err}"
            lines = said.out.splitlines()
            yield from (f"{bridge} {line.strip()}" for line in lines if "=" in line)


def _links(bed: Bed) -> Iterator[str]:
    for link in _json(bed, "ip", "-json", "-details", "address"):
        kind = link.get("linkinfo", {}).get("info_kind", "")
        up = "up" if "UP" in link["flags"] else "down"
        addresses = sorted(
            f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] != "link"
        )
        alias = link.get("ifalias", "")
        yield " ".join([link["ifname"], kind, up, str(link["mtu"]), alias, *addresses])


def _queues(bed: Bed) -> Iterator[str]:
    for line in bed.run("tc", "qdisc", "show").splitlines():
        if " 0: " not in line:  # what a link has by itself, from when it is up first
            yield line


def _routes(bed: Bed) -> Iterator[str]:
    for family in ("-4", "-6"):
        for route in _json(bed, "ip", "-json", family, "route", "show", "table", "all"):
            # these come and go with a link's carrier, and with forwarding
            if not (
                route["dst"].startswith(("fe80:", "ff00:"))
                or route.get("type") in ("anycast", "multicast")
            ):
                kept = {
                    k: route[k] for k in ("type", "dst", "gateway", "dev", "table") if k in route
                }
                yield json.dumps(kept)
        yield from bed.run("ip", family, "rule").splitlines()


def _settings(bed: Bed) -> Iterator[str]:
    folders = ("/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf", "/proc/sys/net/bridge")
    files = ("/proc/sys/net/ipv4/ip_forward",)
    found = bed.attempt("grep", "-r", "-s", "", *folders, *files).out
    yield from (line.removeprefix("/proc/sys/net/") for line in found.splitlines())


def _sockets(bed: Bed) -> Iterator[str]:
    """Return the sockets that hold a port, listening or not."""
    for line in bed.run("ss", "-H", "-n", "-a", "-t", "-u").splitlines():
        protocol, state, _, _, local, *_ = line.split()
        if state in ("LISTEN", "UNCONN"):
            yield f"{protocol} {state} {local}"


def _firewall(bed: Bed) -> list[str]:
    """Return the rules, each behind its table and chain; dockerd makes chains in any order."""
    found = []
    place = ["", ""]
    for line in bed.run("nft", "--stateless", "list", "ruleset").splitlines():
        depth = len(line) - len(line.lstrip("\t"))
        if depth < 2 and line.endswith("{"):
            place[depth:] = [line.strip(" {\t")] + [""] * (1 - depth)
        if line.strip(" }\t"):
            found.append((*place, line.strip()))
    return [" ".join(each) for each in sorted(found, key=lambda rule: rule[:2])]


def _records(bed: Bed) -> Iterator[str]:
    path = bed.state_dir / "state.db"
    if not path.exists():
        return
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        for (table,) in tables.fetchall():
            # it counts the starts of the process; and what happened stays known
            if table == "ipam_epoch" or table.startswith("event"):
                continue
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - from the schema
                # what the reconciler saw of bridges; it forgets those that are gone by and by
                if not (table == "note" and str(row[0]).startswith("tso:")):
                    yield f"{table}: {row}"
    finally:
        connection.close()


def _docker(bed: Bed) -> Iterator[str]:
    for container in bed.ask_docker("/containers/json?all=true"):
        yield f"container {container['Names'][0]}"
    for network in bed.ask_docker("/networks"):
        yield f"network {network['Name']}"


def _json(bed: Bed, *command: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(bed.run(*command) or "[]")
    return found
