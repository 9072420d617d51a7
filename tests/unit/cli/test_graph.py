"""``ovsnet graph``, over answers that the test lays out."""

import json
from xml.etree import ElementTree

from ovsdriver.admin import asks
from ovsdriver.admin.graph.views import Condition, Edge, Graph, Kind, Node, Tier
from tests.unit.cli.conftest import Desk, Shell

FOUND = Graph(
    nodes=(
        Node(id="network:1", tier=Tier.NETWORK, kind=Kind.NETWORK, name="lab"),
        Node(
            id="container:2",
            tier=Tier.CONTAINER,
            kind=Kind.CONTAINER,
            name="web",
            condition=Condition.BROKEN,
            why="the port is not on the bridge",
        ),
    ),
    edges=(
        Edge(
            id="endpoint:3",
            kind=Kind.ENDPOINT,
            outer="network:1",
            inner="container:2",
            condition=Condition.BROKEN,
        ),
    ),
)


def shown(shell: Shell, desk: Desk, *words: str) -> str:
    async def graph(_: asks.ShowGraph) -> Graph:
        return FOUND

    desk.also({asks.ShowGraph: graph})
    done = shell("graph", *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_graph_is_mermaid_unless_something_else_is_said(shell: Shell, desk: Desk):
    assert shown(shell, desk) == (
        "flowchart LR\n"
        "  subgraph network\n"
        '    n0["lab"]\n'
        "  end\n"
        "  subgraph container\n"
        '    n1["web<br/>the port is not on the bridge"]\n'
        "  end\n"
        "  n0 -.- n1\n"
        "  classDef up stroke:#2f9e6e,stroke-width:2px\n"
        "  class n0 up\n"
        "  classDef broken stroke:#d33c3c,stroke-width:2px\n"
        "  class n1 broken\n"
        "  linkStyle 0 stroke:#d33c3c\n"
    )


def test_a_graph_is_an_svg_picture(shell: Shell, desk: Desk):
    tree = ElementTree.fromstring(shown(shell, desk, "--format", "svg"))  # noqa: S314 - our own
    texts = [each.text for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["NETWORK", "CONTAINER", "lab", "web", "the port is not on th…"]


def test_a_graph_is_a_file_for_graphviz(shell: Shell, desk: Desk):
    assert '"network:1" -- "container:2"' in shown(shell, desk, "--format", "dot")


def test_a_graph_is_json_for_programs(shell: Shell, desk: Desk):
    said = json.loads(shown(shell, desk, "--format", "json"))
    assert said == json.loads(shown(shell, desk, "--json"))
    assert [each["condition"] for each in said["nodes"]] == ["up", "broken"]
