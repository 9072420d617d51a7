"""The result as tables and as a drawing, and the budgets that it is held to."""

from collections.abc import Iterator
from typing import Any

from tests.bench.arms import OURS, YARDSTICKS
from tests.bench.ipam_report import about, table
from tests.bench.where import LABELS

Row = list[str]

_ARMS = (OURS, *YARDSTICKS)
_COLORS = {OURS: "#0b6e99", "null": "#b9b9b9", "direct": "#7d7d7d", "fork": "#d98c3f"}
_LEVEL = 500
"""Endpoints at which the latency is compared; the CPU at the highest level that was measured."""


def show(result: dict[str, Any]) -> None:
    print(about(result))
    if "attach" in result:
        _attach(result["attach"])
    if "where" in result:
        whole, parts = result["where"]["attach_ms"], result["where"]["parts_ms"]
        table(
            ["one attach", "ms", "share"],
            [
                *(
                    [LABELS[what], f"{parts[what]:.2f}", f"{parts[what] / whole:.0%}"]
                    for what in LABELS
                ),
                ["all of it", f"{whole:.2f}", ""],
            ],
        )
    if "paced" in result:
        by_arm = result["paced"]
        table(
            ["one at a time, at dockerd's pace, p50 ms", *by_arm],
            [
                [call, *(f"{_p50(each, call):.2f}" for each in by_arm.values())]
                for call in by_arm[OURS]["calls"]
            ],
        )
    if "growth" in result:
        _growth(result["growth"])
    if "networks" in result:
        networks = result["networks"]
        table(
            [f"{networks['networks']} networks, s", "created", "deleted"],
            [
                [name, *(f"{networks[name][what]['total_s']:.1f}" for what in ("create", "delete"))]
                for name in ("with_gateway", "without_gateway", "direct")
            ],
        )
    if "start" in result:
        table(
            ["start with endpoints", "first answer s", "loop stood at most ms", "resident MB"],
            [
                [
                    level,
                    f"{each['first_s']:.2f}",
                    f"{each['stood_ms']:.0f}",
                    f"{each['resident_mb']:.0f}",
                ]
                for level, each in result["start"].items()
            ],
        )
    if "docker" in result:
        table(
            ["docker run", "p50 ms"],
            [[name, f"{value:.0f}"] for name, value in result["docker"]["p50_ms"].items()],
        )
        by_driver = result["docker"]["calls_ms"]
        table(
            ["calls in a docker run, by the driver's own clock, p50 ms", *by_driver],
            [
                [call, *(f"{each[call]:.2f}" for each in by_driver.values())]
                for call in by_driver[OURS]
            ],
        )
    if "traffic" in result:
        table(
            ["TCP, Gbit/s and retransmits in 3 s", "ours", "bridge", "of bridge"],
            [
                [
                    _traffic_case(each),
                    *(
                        f"{each['bits_per_s'][name] / 1e9:.2f}, {each['retransmits'][name]:,.0f}"
                        for name in ("ours", "bridged")
                    ),
                    f"{each['of_bridge']:.2f}",
                ]
                for each in result["traffic"]
            ],
        )
    if rows := list(budgets(result)):
        table(["budget", "asked for", "measured", "met"], rows)


def _traffic_case(found: dict[str, Any]) -> str:
    how = "with" if found["tso"] else "without"
    return f"{how} TSO, receive buffer of {found['receive_buffer'] / 1024:,.0f} KiB"


def _attach(found: dict[str, Any]) -> None:
    at_once = list(found[OURS])
    table(
        [
            "cycles",
            *(f"{n} at once /s" for n in at_once),
            *("attach p50 ms", "p95", "detach p50", "p95", "CPU ms"),
        ],
        [
            [
                name,
                *(f"{found[name][n]['cycles_per_s']:.1f}" for n in at_once),
                *(
                    f"{found[name]['1']['calls'][what][which]:.2f}"
                    for what in ("attach", "detach")
                    for which in ("p50", "p95")
                ),
                f"{found[name]['1']['cpu_ms']:.1f}",
            ]
            for name in _ARMS
        ],
    )
    calls = found[OURS]["1"]["calls"]
    table(
        ["one at a time, p50 ms", *_ARMS],
        [[call, *(f"{_p50(found[name]['1'], call):.2f}" for name in _ARMS)] for call in calls],
    )


def _growth(found: dict[str, Any]) -> None:
    table(
        [
            "endpoints",
            "attach p50 ms",
            "direct",
            "detach",
            "CPU ms",
            "direct",
            "idle ms/s",
            "resident MB",
        ],
        [
            [
                level,
                *(f"{_p50(each[name], 'attach'):.1f}" for name in (OURS, "direct")),
                f"{_p50(each[OURS], 'detach'):.1f}",
                *(f"{each['processor'][name]['cycle_ms']:.1f}" for name in (OURS, "direct")),
                f"{each['processor'][OURS]['idle_ms_per_s']:.1f}",
                f"{each['resident_mb']:.0f}",
            ]
            for level, each in found.items()
        ],
    )


def budgets(result: dict[str, Any]) -> Iterator[Row]:
    """Yield each budget that was measured: what, what is asked for, what was found, if met."""
    if "attach" in result:
        yield from _attach_budgets(result["attach"])
    if "paced" in result:
        yield from _one_at_a_time(result["paced"], "at dockerd's pace")
    if "growth" in result:
        yield from _growth_budgets(result["growth"])
    if "networks" in result:
        bare, routed, direct = (
            sum(result["networks"][name][what]["total_s"] for what in ("create", "delete"))
            for name in ("without_gateway", "with_gateway", "direct")
        )
        yield _most("networks made and deleted, against `direct`", bare / direct, 1.1)
        yield _most("with a gateway, which `direct` has not", routed / direct, 1.1)
    if "start" in result:
        yield from _start_budgets(result["start"])
    if "docker" in result:
        yield from _docker_budgets(result["docker"])
    if "traffic" in result:
        for each in result["traffic"]:
            name = f"TCP between containers, of the bridge's, {_traffic_case(each)}"
            if each["tso"] and each["raised"]:
                yield _least(name, each["of_bridge"], 0.9)
            else:
                yield [name, "-", f"{each['of_bridge']:.2f}", "-"]


def _attach_budgets(found: dict[str, Any]) -> Iterator[Row]:
    yield from _one_at_a_time({name: each["1"] for name, each in found.items()}, "in haste")
    rates = [found[name]["50"]["cycles_per_s"] for name in (OURS, "null")]
    yield _least("cycles/s at 50 at once, against `null`", rates[0] / rates[1], 0.9)


def _one_at_a_time(found: dict[str, Any], how: str) -> Iterator[Row]:
    for call, yardstick, most in (
        ("attach", "direct", 1.25),
        ("attach", "fork", 0.35),
        ("detach", "direct", 0.25),
    ):
        share = _p50(found[OURS], call) / _p50(found[yardstick], call)
        yield _most(f"{call}, one at a time, {how}, against `{yardstick}`", share, most)


def _p50(measured: dict[str, Any], call: str) -> float:
    value: float = measured["calls"][call]["p50"]
    return value


def _start_budgets(found: dict[str, Any]) -> Iterator[Row]:
    for level, most in (("0", 80.0), ("1000", 110.0)):
        if level in found:
            each = found[level]
            name = f"{level} endpoints"
            yield _most(f"start to the first answer, {name}, s", each["first_s"], 0.7)
            yield _most(f"the loop stands at most, {name}, ms", each["stood_ms"], 50)
            yield _most(f"resident, {name}, MB", each["resident_mb"], most)


def _growth_budgets(found: dict[str, Any]) -> Iterator[Row]:
    if str(_LEVEL) in found:
        mine, direct = (_p50(found[str(_LEVEL)][name], "attach") for name in (OURS, "direct"))
        yield _most(f"attach beside {_LEVEL} endpoints, against `direct`", mine / direct, 1.1)
    first, *_, last = found
    alone, beside = (found[level]["processor"][OURS]["cycle_ms"] for level in (first, last))
    yield _most(f"our CPU in a cycle beside {last} endpoints, against none", beside / alone, 1.2)


def _docker_budgets(found: dict[str, Any]) -> Iterator[Row]:
    calls = found["calls_ms"]
    for what, most in (("attach", 1.25), ("detach", 0.25)):
        ratio = calls[OURS][what] / calls["direct"][what]
        yield _most(f"{what} in a `docker run`, against `direct`", ratio, most)
    share = found["share_of_bridge"]
    yield _most("`docker run` beyond none, of what the bridge adds", share, 0.6)


def _most(what: str, value: float, most: float) -> Row:
    return [what, f"<= {most:g}", f"{value:.2f}", "yes" if value <= most else "NO"]


def _least(what: str, value: float, least: float) -> Row:
    return [what, f">= {least:g}", f"{value:.2f}", "yes" if value >= least else "NO"]


# --- the drawing ---

_WIDTH, _LINE, _LABEL = 640, 22, 60


def drawing(result: dict[str, Any]) -> str:
    """Return an SVG: how long an attach takes and how many cycles there are, arm by arm."""
    found = result["attach"]
    panels = [
        (
            "attach, one at a time: ms, less is better",
            {name: _p50(found[name]["1"], "attach") for name in _ARMS},
        ),
        (
            "attach and detach, 50 at once: cycles/s, more is better",
            {name: found[name]["50"]["cycles_per_s"] for name in _ARMS},
        ),
    ]
    parts: list[str] = []
    top = 8
    for title, values in panels:
        parts.append(f'<text x="8" y="{top + 14}" font-weight="bold">{title}</text>')
        top += _LINE
        most = max(values.values())
        for name, value in values.items():
            width = value / most * (_WIDTH - _LABEL - 70)
            parts += [
                f'<text x="{_LABEL}" y="{top + 14}" text-anchor="end">{name}</text>',
                f'<rect x="{_LABEL + 6}" y="{top + 3}" width="{width:.0f}" height="14" '
                f'fill="{_COLORS[name]}"/>',
                f'<text x="{_LABEL + 12 + width:.0f}" y="{top + 14}">{value:.1f}</text>',
            ]
            top += _LINE
        top += 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
        f'font-family="sans-serif" font-size="12" fill="#333">\n'
        + f'<rect width="{_WIDTH}" height="{top}" fill="#fff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
