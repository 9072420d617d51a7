"""A graph in the languages of Mermaid and of Graphviz. Pure."""

import re
from collections.abc import Iterator

from ovsdriver.admin.graph.views import Condition, Edge, Graph, Node, Tier
from ovsdriver.words.values import printable

_COLOURS = {
    Condition.UP: "#2f9e6e",
    Condition.BROKEN: "#d33c3c",
    Condition.WAITING: "#c08a1b",
    Condition.UNKNOWN: "#c08a1b",
    Condition.PULLED: "#c08a1b",
    Condition.FOREIGN: "#b4b8be",
}


def mermaid(graph: Graph) -> str:
    """Return a flowchart that Mermaid draws, as in GitHub's and GitLab's Markdown."""
    short = {each.id: f"n{place}" for place, each in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for tier in Tier:
        nodes = [each for each in graph.nodes if each.tier is tier]
        if nodes:
            lines += (
                f"  subgraph {tier}",
                *(f'    {short[each.id]}["{_mermaid(each)}"]' for each in nodes),
                "  end",
            )
    for edge in graph.edges:
        line = "---" if edge.condition is Condition.UP else "-.-"
        label = f'|"{_entities(edge.label)}"|' if edge.label else ""
        lines.append(f"  {short[edge.outer]} {line}{label} {short[edge.inner]}")
    for condition, colour in _COLOURS.items():
        styled = [short[each.id] for each in graph.nodes if each.condition is condition]
        if styled:
            lines += (
                f"  classDef {condition} stroke:{colour},stroke-width:2px",
                f"  class {','.join(styled)} {condition}",
            )
    for place, edge in enumerate(graph.edges):
        if edge.condition is not Condition.UP:
            lines.append(f"  linkStyle {place} stroke:{_COLOURS[edge.condition]}")
    return "\n".join((*lines, ""))


def dot(graph: Graph) -> str:
    """Return what Graphviz' ``dot`` draws."""
    return "\n".join(("graph ovsnet {", *_dot(graph), "}", ""))


def _dot(graph: Graph) -> Iterator[str]:
    yield "  rankdir=LR; ranksep=1.2; node [shape=box, style=rounded]"
    for tier in Tier:
        nodes = [each for each in graph.nodes if each.tier is tier]
        if nodes:
            yield "  { rank=same"
            for node in nodes:
                label = "\n".join((node.name, *_notes(node)))
                yield f"    {_quoted(node.id)} [label={_quoted(label)}, {_pen(node)}]"
            yield "  }"
    for edge in graph.edges:
        yield (
            f"  {_quoted(edge.outer)} -- {_quoted(edge.inner)} "
            f"[label={_quoted(edge.label)}, {_pen(edge)}]"
        )


def _pen(of: Node | Edge) -> str:
    style = {Condition.BROKEN: ", penwidth=2", Condition.UP: ""}.get(of.condition, ", style=dashed")
    return f'color="{_COLOURS[of.condition]}"{style}'


def _notes(node: Node) -> tuple[str, ...]:
    return (node.why,) if node.why else node.notes


def _quoted(text: str) -> str:
    lines = (printable(line) for line in text.split("\n"))
    return '"' + "\\n".join(re.sub(r'([\\"])', r"\\\1", line) for line in lines) + '"'


def _mermaid(node: Node) -> str:
    return "<br/>".join(map(_entities, (node.name, *_notes(node))))


def _entities(text: str) -> str:
    """Return a text of which Mermaid takes nothing for words of its own, nor for HTML."""
    return re.sub(r"[^\w .,:/+-]", lambda found: f"#{ord(found[0])};", printable(text))
