"""What Open vSwitch says that it would do with a packet (``ofproto/trace``)."""

import asyncio
import re

from ovsdriver.adapters.ovs.openflow import encoding
from ovsdriver.cli.doctor import rpc
from ovsdriver.config import Settings
from ovsdriver.domain.records.options.flows import Stage
from ovsdriver.domain.tracing.containers import Bridged

_RULE = re.compile(r"^\s*\d+\. .*?priority (\d+)(?:, cookie (0x[0-9a-f]+))?", re.MULTILINE)
_OPTIONS = {
    Stage.TAGS: "ovs.vlan_mode",
    Stage.GUARD: "ovs.guard",
    Stage.BROADCAST: "ovs.broadcast",
    Stage.RATE: "ovs.rate",
    Stage.ACCESS: "ovs.allow or ovs.deny",
    Stage.MARK: "ovs.dscp",
}


def says(settings: Settings, bridge: str, packet: str, whose: str) -> Bridged:
    """Return what a bridge does with a packet; nothing if ovs-vswitchd cannot be asked.

    Args:
        settings: of this host.
        bridge: its name.
        packet: as ``ofproto/trace`` reads it.
        whose: the container that it is of, ``lab/web``: options of it have flows.
    """
    asked = [bridge, packet]
    answer = asyncio.run(rpc.ask_vswitchd(settings.ovsdb, "ofproto/trace", asked)) or ""
    lines = [line for line in answer.splitlines() if line.startswith("Datapath actions:")]
    actions = lines[-1].partition(":")[2].strip() if lines else ""
    by = _maker(answer, settings.instance) if actions == "drop" else ""
    return Bridged(actions=actions, by=f"{by} of {whose}" if by else "")


def _maker(said: str, owner: str) -> str:
    """Return the option whose flow is the last that a packet met; empty if it is none of ours."""
    found = _RULE.findall(said)
    if not found:
        return ""
    priority, cookie = found[-1]
    stage = encoding.stage_of(int(cookie or "0", 16), int(priority), owner=owner)
    return "" if stage is None else _OPTIONS[stage]
