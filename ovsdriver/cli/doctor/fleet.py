"""The fleet: this host's name, OVN's controller, databases, certificates, the underlay."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovsdriver.adapters.ovn import OvnSouthbound
from ovsdriver.adapters.ovsdb import Address, Certificates, OvsdbError, Servers
from ovsdriver.adapters.ovsdb.wire.question import transact
from ovsdriver.cli.doctor.finding import Finding, fail, ok, warn
from ovsdriver.cli.doctor.rpc import RpcError, ask
from ovsdriver.config import Settings
from ovsdriver.domain.plan.segment_planning import MTU
from ovsdriver.domain.records.segments import ENCAPSULATION
from ovsdriver.errors import DriverError
from ovsdriver.ports import Chassis

OLDEST = (22, 3)
"""Of OVN: what distributions had when hosts began to tell when they answer."""
DAYS = 14
"""A certificate that ends within so many days is told."""

_TIMEOUT_S = 1.5
_PROGRAM_S = 5.0
_CONTROLS = (Path("/run/ovn"), Path("/var/run/ovn"))
_SET = "ovs-vsctl set Open_vSwitch . external_ids:{}={}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenServer:
    """One server of the northbound database."""

    address: str
    fault: str = ""
    """Why it is of no use; empty: it answers."""
    leads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFleet:
    """What one look found."""

    ids: Mapping[str, str] = field(default_factory=dict)
    """``external_ids`` of Open vSwitch."""
    controller: str | None = None
    """Version of the ovn-controller that runs; None: none does."""
    connected: str = ""
    """What it says of its connection to the southbound database."""
    servers: tuple[SeenServer, ...] = ()
    certificate: str = ""
    """What is wrong with this host's certificate."""
    named: str = ""
    """The name in it; empty: there is none, or it cannot be read."""
    chassis: tuple[Chassis, ...] | None = None
    """Hosts in the southbound database; None: it does not answer."""
    mtus: Mapping[str, int] = field(default_factory=dict)
    """Bytes, of the link that has an address."""


async def look(settings: Settings) -> SeenFleet:
    """Ask everybody; what does not answer is told by what is not there."""
    certificates = _certificates(settings)
    ids = await _ids(settings.ovsdb)
    southbound = OvnSouthbound(
        lambda: ids.get("ovn-remote", ""), certificates=certificates, timeout_s=_TIMEOUT_S
    )
    controller, servers, certificate, chassis, mtus = await asyncio.gather(
        _controller(),
        asyncio.gather(*(_server(each, certificates) for each in settings.ovn_northbound)),
        _certificate(certificates),
        _chassis(southbound),
        _mtus(),
    )
    return SeenFleet(
        ids=ids,
        controller=controller[0],
        connected=controller[1],
        servers=tuple(servers),
        certificate=certificate[0],
        named=certificate[1],
        chassis=chassis,
        mtus=mtus,
    )


def judge(seen: SeenFleet) -> list[Finding]:
    """Say what to make of it."""
    return [
        _name(seen),
        *_told(seen),
        _controls(seen),
        *_databases(seen),
        *_identity(seen),
        *_underlay(seen),
    ]


def _name(seen: SeenFleet) -> Finding:
    subject = "name in the fleet"
    name, address = seen.ids.get("system-id", ""), seen.ids.get("ovn-encap-ip", "")
    if not name:
        return fail(
            subject,
            "Open vSwitch has no system-id, so OVN does not know this host",
            f"{_SET.format('system-id', 'NAME')}, then systemctl restart ovn-controller",
        )
    others = [each.name for each in seen.chassis or () if address and each.address == address]
    if others and name not in others:
        return fail(
            subject,
            f"{name} has the tunnel address of {others[0]}: the system-id was changed, so OVN "
            "binds no port here",
            f"{_SET.format('system-id', others[0])}, then systemctl restart ovn-controller",
        )
    return ok(subject, name)


def _told(seen: SeenFleet) -> list[Finding]:
    missing = [key for key in ("ovn-remote", "ovn-encap-ip") if not seen.ids.get(key)]
    examples = {"ovn-remote": "ssl:ADDRESS:6642", "ovn-encap-ip": "ADDRESS"}
    return [
        fail(
            "Open vSwitch for OVN",
            f"external_ids:{each} is not set, so OVN's controller does nothing",
            _SET.format(each, examples[each]),
        )
        for each in missing
    ]


def _controls(seen: SeenFleet) -> Finding:
    subject = "ovn-controller"
    if seen.controller is None:
        return fail(
            subject,
            "does not run, so no container of a segment gets a network",
            "systemctl start ovn-controller (apt install ovn-host)",
        )
    numbers = tuple(map(int, re.findall(r"\d+", seen.controller)[:2]))
    if numbers < OLDEST:
        oldest = f"{OLDEST[0]}.{OLDEST[1]:02}"
        return fail(
            subject,
            f"is version {seen.controller}, too old for segments: {oldest} is the oldest",
            "upgrade the packages ovn-host and ovn-central",
        )
    if seen.connected != "connected":
        return warn(
            subject,
            f"runs, version {seen.controller}, without the southbound database",
            f"look at its log; ovn-remote is {seen.ids.get('ovn-remote') or 'not set'}",
        )
    return ok(subject, f"runs, version {seen.controller}, and is connected")


def _databases(seen: SeenFleet) -> list[Finding]:
    subject = "northbound database"
    findings = [
        warn(subject, f"{each.address}: {each.fault}", "look at that host, or correct the address")
        for each in seen.servers
        if each.fault
    ]
    leading = [each.address for each in seen.servers if each.leads]
    if leading:
        findings.append(ok(subject, f"{leading[0]} leads"))
    else:
        findings.append(
            fail(
                subject,
                "no server leads, so no container of a segment can be started",
                "start ovn-central on most of the central hosts",
            )
        )
    if len(seen.servers) == 2:
        findings.append(
            warn(
                subject,
                "two central hosts are worse than one: without either nothing is written",
                "add a third one, or remove one",
            )
        )
    if seen.chassis is None:
        findings.append(
            warn(
                "southbound database",
                "does not answer this host",
                "ovs-vsctl get Open_vSwitch . external_ids:ovn-remote",
            )
        )
    return findings


def _identity(seen: SeenFleet) -> list[Finding]:
    subject = "certificate"
    if seen.certificate:
        return [
            fail(
                subject, seen.certificate, "issue it anew, as the Ansible role ovn does, and check"
            )
        ]
    name = seen.ids.get("system-id", "")
    if seen.named and name and seen.named != name:
        return [
            warn(
                subject,
                f"is of {seen.named}, and this host is {name}: a southbound database with roles "
                "refuses it",
                f"issue one with the common name {name}",
            )
        ]
    return [ok(subject, f"of {seen.named}")] if seen.named else []


def _underlay(seen: SeenFleet) -> list[Finding]:
    subject, address = "underlay", seen.ids.get("ovn-encap-ip", "")
    if not address:
        return []
    mtu = seen.mtus.get(address)
    if mtu is None:
        if not seen.mtus:
            return []
        return [
            fail(
                subject,
                f"no link of this host has {address}, which external_ids:ovn-encap-ip names",
                _SET.format("ovn-encap-ip", "ADDRESS"),
            )
        ]
    if mtu < MTU + ENCAPSULATION:
        return [
            warn(
                subject,
                f"{address} has MTU {mtu}, and frames of a segment need {MTU + ENCAPSULATION}",
                f"raise it, or make segments with -o ovs.mtu={mtu - ENCAPSULATION}",
            )
        ]
    return [ok(subject, f"{address} has MTU {mtu}")]


# Looking


def _certificates(settings: Settings) -> Certificates | None:
    key, certificate, ca = settings.ovn_private_key, settings.ovn_certificate, settings.ovn_ca
    if key and certificate and ca:
        return Certificates(private_key=key, certificate=certificate, ca=ca)
    return None


async def _ids(address: str) -> Mapping[str, str]:
    select = {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["external_ids"]}
    try:
        (answer,) = await ask(address, "transact", ["Open_vSwitch", select])
        return dict(answer["rows"][0]["external_ids"][1])
    except (RpcError, TypeError, ValueError, LookupError):
        return {}  # said where Open vSwitch is looked at


async def _controller() -> tuple[str | None, str]:
    """Return the version of the controller that runs, and how it is connected."""
    for each in sorted(path for folder in _CONTROLS for path in folder.glob("ovn-controller*.ctl")):
        try:
            version = str(await ask(f"unix:{each}", "version", []))
            connected = str(await ask(f"unix:{each}", "connection-status", []))
        except RpcError:
            continue  # of one that was killed
        return version.partition("\n")[0].rpartition(" ")[2], connected.strip()
    return None, ""


async def _server(text: str, certificates: Certificates | None) -> SeenServer:
    try:
        servers = Servers.parse([text], certificates=certificates)
        rows = await _databases_of(servers.addresses[0], certificates)
    except TimeoutError:
        return SeenServer(address=text, fault=f"no answer within {_TIMEOUT_S:g} s")
    except (OvsdbError, DriverError) as error:
        return SeenServer(address=text, fault=str(error))
    mine = [row for row in rows if row.get("name") == "OVN_Northbound"]
    if not mine:
        return SeenServer(address=text, fault="it has no database OVN_Northbound")
    if not mine[0].get("connected"):
        return SeenServer(address=text, fault="it has no contact to its cluster")
    return SeenServer(address=text, leads=bool(mine[0].get("leader")))


async def _databases_of(
    address: Address, certificates: Certificates | None
) -> Sequence[Mapping[str, Any]]:
    columns = ["name", "connected", "leader"]
    select = {"op": "select", "table": "Database", "where": [], "columns": columns}
    (answer,) = await transact(
        address, "_Server", [select], certificates=certificates, timeout_s=_TIMEOUT_S
    )
    rows: Sequence[Mapping[str, Any]] = answer.get("rows", [])
    return rows


async def _chassis(southbound: OvnSouthbound) -> tuple[Chassis, ...] | None:
    try:
        return (await southbound.read()).chassis
    except DriverError:
        return None


async def _certificate(certificates: Certificates | None) -> tuple[str, str]:
    """Return what is wrong with this host's certificate, and whose it is."""
    if certificates is None:
        return "", ""
    try:
        certificates.context()
    except OvsdbError as error:
        return str(error), ""
    path = str(certificates.certificate)
    of = await _program(
        "openssl", "x509", "-noout", "-subject", "-nameopt", "multiline", "-in", path
    )
    if of is None:
        return "", ""
    found = re.search(r"commonName\s*=\s*(.*)", of)
    signed = await _program("openssl", "verify", "-CAfile", str(certificates.ca), path)
    if signed is None:
        return f"{path} is not of the CA in {certificates.ca}, or has ended", ""
    lasts = ("-checkend", str(DAYS * 86_400))
    if await _program("openssl", "x509", "-noout", *lasts, "-in", path) is None:
        return f"{path} ends within {DAYS} days", ""
    return "", found[1].strip() if found else ""


async def _mtus() -> Mapping[str, int]:
    listed = await _program("ip", "-json", "address", "show")
    try:
        links = json.loads(listed or "[]")
        return {
            str(each["local"]): int(link["mtu"])
            for link in links
            for each in link.get("addr_info", ())
            if "local" in each
        }
    except (ValueError, LookupError, TypeError):
        return {}


async def _program(*words: str) -> str | None:
    """Return what a program says; None if it is not there, fails, or takes too long."""
    pipe = asyncio.subprocess.PIPE
    try:
        running = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(_PROGRAM_S):
            out, _ = await running.communicate()
    except TimeoutError:
        running.kill()
        await running.wait()
        return None
    return None if running.returncode else out.decode(errors="replace")
