"""What the services need of the world, each as narrow as its users allow.

Adapters fulfil these; tests/fakes does too, and both pass the same tests in tests/contract.
Every call here is repeatable, bounded in time, and raises
:class:`~ovsdriver.errors.UnavailableError` when its part of the world does not answer.
"""

from ovsdriver.ports.access import AccessCount, AccessFirewall, Verdict
from ovsdriver.ports.docker import Engine, EngineEndpoint, EngineSubnet, EngineView
from ovsdriver.ports.events import Events, Journal, Readers, StoredEvents
from ovsdriver.ports.kernel import (
    Firewall,
    HostPorts,
    Links,
    Nics,
    Route,
    Sandboxes,
    SeenLink,
    Shapes,
)
from ovsdriver.ports.name_servers import Directory, GatewayNameServers, NameRules, NameServers
from ovsdriver.ports.northbound import (
    Northbound,
    NorthboundStatus,
    SegmentPool,
    SharedGateway,
    SharedLease,
    SharedName,
    SharedPort,
    SharedSegment,
)
from ovsdriver.ports.southbound import Chassis, Southbound, SouthboundView
from ovsdriver.ports.store import HostNotes, SandboxMemory, State
from ovsdriver.ports.switch import (
    Bindings,
    Bridges,
    Copies,
    Flows,
    PatchPorts,
    Ports,
    Switch,
    SwitchStatus,
    SwitchView,
    UplinkPorts,
)
from ovsdriver.ports.webhooks import Receivers

__all__ = [
    "AccessCount",
    "AccessFirewall",
    "Bindings",
    "Bridges",
    "Chassis",
    "Copies",
    "Directory",
    "Engine",
    "EngineEndpoint",
    "EngineSubnet",
    "EngineView",
    "Events",
    "Firewall",
    "Flows",
    "GatewayNameServers",
    "HostNotes",
    "HostPorts",
    "Journal",
    "Links",
    "NameRules",
    "NameServers",
    "Nics",
    "Northbound",
    "NorthboundStatus",
    "PatchPorts",
    "Ports",
    "Readers",
    "Receivers",
    "Route",
    "SandboxMemory",
    "Sandboxes",
    "SeenLink",
    "SegmentPool",
    "Shapes",
    "SharedGateway",
    "SharedLease",
    "SharedName",
    "SharedPort",
    "SharedSegment",
    "Southbound",
    "SouthboundView",
    "State",
    "StoredEvents",
    "Switch",
    "SwitchStatus",
    "SwitchView",
    "UplinkPorts",
    "Verdict",
]
