"""Where the nodes of a picture are: a column for each tier, the same graph always alike. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ovsdriver.admin.graph.views import Graph, Node, Tier

WIDTH, HEIGHT = 168.0, 42.0
"""Of a node, in pixels."""
ROW = 52.0
"""From one node of a column to the next."""
GAP = 18.0
"""Between the containers of two networks, besides."""
COLUMN = WIDTH + 118.0
"""From one tier to the next; edges have their labels there."""
BESIDE = WIDTH + 16.0
"""From one container to the one beside it, where a network has many."""
MOST_ROWS = 24
"""Containers of a network above each other; with more, they become wider than high."""
MOST_DOWN = 8 * ROW
"""From the first of the nodes that a node leads to: of many, their middle is out of sight."""
MARGIN = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node's middle, in pixels from the picture's upper left corner."""

    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything is."""

    places: Mapping[str, Place]
    """By id of a node."""
    columns: Mapping[Tier, float]
    """The middle of each tier that has nodes; of containers, of their first column."""
    behind: Mapping[tuple[str, str], str]
    """Edges, by outer and inner node, that are drawn from another node: the one that a container
    beyond its network's first column stands behind. Else they would cross all others."""
    width: float
    height: float


def layout(graph: Graph) -> Layout:
    """Return where the nodes of a graph are, outside on the left."""
    tiers = {tier: [each for each in graph.nodes if each.tier is tier] for tier in Tier}
    inner = _inner(graph)
    used = [tier for tier in Tier if tiers[tier]]
    left = MARGIN + WIDTH / 2 + (COLUMN - WIDTH if _beside(graph, tiers, used[:1]) else 0)
    columns = {tier: left + place * COLUMN for place, tier in enumerate(used)}
    places, behind = _containers(tiers, inner, columns)
    for tier in reversed([each for each in Tier if each is not Tier.CONTAINER]):
        wanted = [(_middle(places, inner[each.id]), each) for each in tiers[tier]]
        lowest = max((each.y for each in places.values()), default=MARGIN) + ROW
        ordered = sorted(
            ((lowest if y is None else y, each.id) for y, each in wanted), key=lambda pair: pair[0]
        )
        for node, y in _apart(ordered):
            places[node] = Place(x=columns[tier], y=y)
    top = min((each.y for each in places.values()), default=0.0)
    down = MARGIN * 2 + HEIGHT / 2 - top
    places = {node: Place(x=each.x, y=each.y + down) for node, each in places.items()}
    return Layout(
        places=places,
        columns=columns,
        behind=behind,
        width=max((each.x for each in places.values()), default=0.0) + WIDTH / 2 + MARGIN,
        height=max((each.y for each in places.values()), default=0.0) + HEIGHT / 2 + MARGIN,
    )


def _beside(graph: Graph, tiers: Mapping[Tier, Sequence[Node]], among: Iterable[Tier]) -> bool:
    """Whether edges go between nodes of one of these columns: they need room on its left."""
    ids = {node.id for tier in among for node in tiers[tier]}
    return any(each.outer in ids and each.inner in ids for each in graph.edges)


def _inner(graph: Graph) -> Mapping[str, Sequence[str]]:
    """Return the nodes that are one step nearer to the containers, by node."""
    found: dict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        found[edge.outer].append(edge.inner)
    return found


def _containers(
    tiers: Mapping[Tier, Sequence[Node]],
    inner: Mapping[str, Sequence[str]],
    columns: Mapping[Tier, float],
) -> tuple[dict[str, Place], Mapping[tuple[str, str], str]]:
    """Place containers below each other, each by the first network that has it."""
    places: dict[str, Place] = {}
    behind: dict[tuple[str, str], str] = {}
    y = 0.0
    for network in tiers[Tier.NETWORK]:
        own = [each for each in inner.get(network.id, ()) if each not in places]
        rows = len(own)
        if rows > MOST_ROWS:
            rows = max(MOST_ROWS, math.ceil(1.6 * math.sqrt(rows)))
        for place, each in enumerate(own):
            places[each] = Place(
                x=columns[Tier.CONTAINER] + place // rows * BESIDE, y=y + place % rows * ROW
            )
        for each, before in zip(own[rows:], own, strict=False):
            behind[network.id, each] = before
        # A network without containers has its own line, too.
        y += max(rows, 1) * ROW + GAP
    return places, behind


def _middle(places: Mapping[str, Place], nodes: Iterable[str]) -> float | None:
    found = [places[each].y for each in nodes if each in places]
    return min(sum(found) / len(found), min(found) + MOST_DOWN) if found else None


def _apart(ordered: Sequence[tuple[float, str]]) -> Iterable[tuple[str, float]]:
    """Move the nodes of a column apart, as a whole as little as may be."""
    placed: list[float] = []
    for y, _ in ordered:
        placed.append(max(y, placed[-1] + ROW) if placed else y)
    moved = [at - y for at, (y, _) in zip(placed, ordered, strict=True)]
    shift = sum(moved) / len(moved) if moved else 0.0
    return [(node, at - shift) for at, (_, node) in zip(placed, ordered, strict=True)]
