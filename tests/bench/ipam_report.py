"""The benchmark's result as tables, in Markdown that can be read as it stands."""

from collections.abc import Iterator
from typing import Any

from tests.bench.ipam_cases import AT_ONCE

_FULL = 10**6
_NOISY = 2.0


def about(result: dict[str, Any]) -> str:
    """Return on what and in what company a result was measured."""
    machine = result["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']:.1f} before, Python "
        f"{machine['python']}, SQLite {machine['sqlite']}, Linux {machine['kernel']}. "
        f"Disk: a write of 4 kB and its fdatasync take {result['disk_ms']:.2f} ms. "
        f"Noise: the p99 of a fixed piece of work is {result['noise']:.1f} x its p50"
        f"{'; others were at work, run it again' if result['noise'] > _NOISY else ''}.\n"
    )


def show(result: dict[str, Any]) -> None:
    print(f"{result['rounds']} rounds. {about(result)}")
    table(
        ["in process: durable/s", *_AT_ONCE, "of empty", *_TIMES, "releases/s", "a commit"],
        [_rates(each, "per_commit") for each in result["in_process"]],
    )
    table(
        ["through HTTP: durable/s", *_AT_ONCE, "of empty", *_TIMES, "releases/s", "CPU us"],
        [_rates(each, "server_us") for each in result["through_http"]],
    )
    table(
        ["yardstick: calls/s", *_AT_ONCE, "p50 ms at 1", "p50 at 50", "client's CPU us"],
        [
            [
                each["name"],
                *(f"{each['rate'][str(n)]:,.0f}" for n in AT_ONCE),
                f"{each['p50_ms']['1']:.3f}",
                f"{each['p50_ms']['50']:.2f}",
                f"{each['client_us']['50']:.0f}",
            ]
            for each in result["yardsticks"]
        ],
    )
    table(
        ["start with leases", "first answer s", "resident MB", "peak", "load s", "load's MB"],
        [
            [
                f"{in_use:,}",
                f"{each['first_s']:.2f}",
                f"{each['resident_mb']:.0f}",
                f"{each['peak_mb']:.0f}",
                f"{each['load_s']:.2f}",
                f"{each['grown_mb']:.1f}",
            ]
            for in_use, each in result["starts"].items()
        ],
    )
    table(["budget", "asked for", "measured", "met"], list(_budgets(result)))


_AT_ONCE = [f"{n} at once" for n in AT_ONCE]
_TIMES = ["p50 ms at 1", "p99", "p50 at 50", "p99"]


def _rates(each: dict[str, Any], last: str) -> list[str]:
    return [
        each["name"],
        *(f"{each['rate'][str(n)]:,.0f}" for n in AT_ONCE),
        f"{1 / each['slower_than_empty']['50']:.2f}",
        *(f"{each[key][n]:.2f}" for n in ("1", "50") for key in ("p50_ms", "p99_ms")),
        f"{each['release_rate']['50']:,.0f}",
        f"{each[last]['50']:.0f}",
    ]


def _budgets(result: dict[str, Any]) -> Iterator[list[str]]:
    """Yield each budget with what was measured; of the rates the slowest case counts."""
    for key, words, least in (
        ("in_process", "in process", 20_000),
        ("through_http", "through HTTP", 3_000),
    ):
        slowest = min(result[key], key=lambda each: float(each["rate"]["50"]))
        rate = slowest["rate"]["50"]
        yield [
            f"durable allocations/s at 50 at once, {words}, the slowest case",
            f">= {least:,}",
            f"{rate:,.0f} ({slowest['name']})",
            _met(rate >= least),
        ]
        if key == "in_process":
            share = 1 / max(result["of_bare"])
            yield ["the slowest case against bare rows", "", f"{share:.2f} x", ""]
        for full in (each for each in result[key] if each["in_use"] == _FULL):
            slower = full["slower_than_empty"]["50"]
            name = f"an empty pool against {full['name']}, {words}"
            yield [name, "<= 1.2 x", f"{slower:.2f} x", _met(slower <= 1.2)]
    start = result["starts"].get(_FULL)
    if start is not None:
        name = "10^6 leases, from exec to the first lease call answered"
        yield [name, "< 1.5 s", f"{start['first_s']:.2f} s", _met(start["first_s"] < 1.5)]
        resident = start["resident_mb"]
        yield [
            "10^6 leases, resident",
            "< 250 MB",
            f"{resident:.0f} MB, at most {start['peak_mb']:.0f}",
            _met(resident < 250),
        ]


def _met(met: bool) -> str:
    return "yes" if met else "NO"


def table(heads: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    line = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in [heads, line, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print(f"| {' | '.join(cells)} |")
    print()
