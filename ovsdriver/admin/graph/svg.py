"""A graph as an SVG picture, which follows the viewer's dark or light. Pure."""

from collections.abc import Iterator
from html import escape

from ovsdriver.admin.graph.layout import HEIGHT, MARGIN, WIDTH, Layout, Place, layout
from ovsdriver.admin.graph.views import Edge, Graph, Node
from ovsdriver.words.values import printable

_STYLE = """
  :root { color-scheme: light dark }
  svg { font: 13px system-ui, "DejaVu Sans", sans-serif; background: #fbfbfa }
  .tier, .note, .label { fill: #6b6f76 } .tier { font-size: 11px; letter-spacing: .08em }
  .note, .label { font-size: 11px } .name { fill: #1d2025 }
  .node { fill: #ffffff; stroke: #c9ccd1 } .edge { fill: none; stroke: #9aa0a8; stroke-width: 1.5 }
  .up.edge { stroke: #2f9e6e } .up.dot { fill: #2f9e6e }
  .broken.node, .broken.edge { stroke: #d33c3c; stroke-width: 2.5 } .broken.dot { fill: #d33c3c }
  .waiting.edge, .unknown.edge, .pulled.edge { stroke: #c08a1b; stroke-dasharray: 5 4 }
  .waiting.dot, .unknown.dot, .pulled.dot { fill: #c08a1b }
  .foreign.node, .foreign.edge { stroke-dasharray: 3 3; stroke: #b4b8be }
  .foreign.dot { fill: #b4b8be } .foreign.name { fill: #8a8f96 }
  .label { paint-order: stroke; stroke: #fbfbfa; stroke-width: 4px }
  @media (prefers-color-scheme: dark) {
    svg { background: #16181c } .name { fill: #e8eaed } .tier, .note, .label { fill: #9aa0a8 }
    .node { fill: #202329; stroke: #3c4149 } .label { stroke: #16181c }
  }
"""

_ROOM = 22
"""Characters that fit into a node beside its dot."""


def svg(graph: Graph) -> str:
    """Return the picture; whatever names hold, it stays text in it."""
    placed = layout(graph)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {placed.width:.0f} '
            f'{placed.height:.0f}" width="{placed.width:.0f}" height="{placed.height:.0f}">',
            f"<style>{_STYLE}</style>",
            *_titles(placed),
            *(line for each in graph.edges for line in _edge(each, placed)),
            *(line for each in graph.edges for line in _label(each, placed)),
            *(line for each in graph.nodes for line in _node(each, placed)),
            "</svg>",
            "",
        )
    )


def _titles(placed: Layout) -> Iterator[str]:
    for tier, x in placed.columns.items():
        yield (
            f'<text class="tier" x="{x:.0f}" y="{MARGIN:.0f}" text-anchor="middle">'
            f"{tier.upper()}</text>"
        )


def _edge(edge: Edge, placed: Layout) -> Iterator[str]:
    outer = placed.behind.get((edge.outer, edge.inner), edge.outer)
    a, b = placed.places[outer], placed.places[edge.inner]
    x1, x2 = a.x + WIDTH / 2, b.x - WIDTH / 2
    middle = (x1 + x2) / 2
    if a.x == b.x:  # one above the other
        x1, middle = x2, x2 - _bow(a, b)
    yield (
        f'<path class="{edge.condition} edge" d="M{x1:.0f},{a.y:.1f} C{middle:.0f},{a.y:.1f} '
        f'{middle:.0f},{b.y:.1f} {x2:.0f},{b.y:.1f}">{_title(edge.why or edge.label)}</path>'
    )


def _bow(a: Place, b: Place) -> float:
    """Return how far an edge between two nodes of one column goes aside, in pixels."""
    return min(30 + abs(a.y - b.y) / 4, 90)


def _label(edge: Edge, placed: Layout) -> Iterator[str]:
    if not edge.label:
        return
    a, b = placed.places[edge.outer], placed.places[edge.inner]
    if a.x == b.x:
        place, side, anchor = Place(x=a.x, y=(a.y + b.y) / 2), -WIDTH / 2 - _bow(a, b) * 0.75, "end"
    elif edge.told_outside:
        place, side, anchor = a, WIDTH / 2 + 8, "start"
    else:
        place, side, anchor = b, -WIDTH / 2 - 8, "end"
    yield (
        f'<text class="label" x="{place.x + side:.0f}" y="{place.y - 5:.1f}" '
        f'text-anchor="{anchor}">{_text(edge.label, _ROOM)}</text>'
    )


def _node(node: Node, placed: Layout) -> Iterator[str]:
    place = placed.places[node.id]
    left, top = place.x - WIDTH / 2, place.y - HEIGHT / 2
    note = node.why or ", ".join(node.notes)
    name_y = place.y - 3 if note else place.y + 4.5
    yield f'<g id="{escape(printable(node.id))}">{_title(", ".join((node.name, *node.notes)))}'
    yield (
        f'<rect class="{node.condition} node" x="{left:.0f}" y="{top:.1f}" width="{WIDTH:.0f}" '
        f'height="{HEIGHT:.0f}" rx="7"/>'
    )
    yield (
        f'<circle class="{node.condition} dot" cx="{left + 13:.0f}" cy="{name_y - 4.5:.1f}" r="4"/>'
    )
    yield (
        f'<text class="{node.condition} name" x="{left + 24:.0f}" y="{name_y:.1f}">'
        f"{_text(node.name, _ROOM - 4)}</text>"
    )
    if note:
        yield (
            f'<text class="note" x="{left + 24:.0f}" y="{place.y + 13:.1f}">'
            f"{_text(note, _ROOM)}</text>"
        )
    yield "</g>"


def _title(text: str) -> str:
    return f"<title>{escape(printable(text))}</title>" if text else ""


def _text(text: str, most: int) -> str:
    shown = printable(text)
    return escape(shown if len(shown) <= most else f"{shown[: most - 1]}…")
