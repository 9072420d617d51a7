"""The result as tables, and the budgets that it is held to."""

from collections.abc import Iterator
from typing import Any

from tests.bench.ipam_report import about, table

PARTS = ("docker", "ping", "leases", "gap", "traffic", "scale")


def show(result: dict[str, Any]) -> None:
    print(about(result))
    if "docker" in result:
        table(
            ["docker run on", "p50 ms"],
            [[name, f"{value:.0f}"] for name, value in result["docker"]["p50_ms"].items()],
        )
    if "leases" in result:
        table(
            ["leases/s, p50 ms", "ours", "raw client", "of raw"],
            [
                [
                    f"{clients} at once",
                    *(f"{each['per_s'][k]:.0f}, {each['p50_ms'][k]:.1f}" for k in ("ours", "raw")),
                    f"{each['of_raw']:.2f}",
                ]
                for clients, each in _cases(result["leases"])
            ],
        )
    if "gap" in result:
        table(
            [f"death of a leader; usually {result['gap']['usual_s']:.2f} s", "first s", "refused"],
            [
                [short, *(", ".join(map(str, result["gap"][short][k])) for k in of)]
                for of in [("first_s", "refused")]
                for short in ("nb", "sb")
            ],
        )
    if "traffic" in result:
        found = result["traffic"]
        table(
            ["TCP between hosts", "Mbit/s", "retransmits in 3 s"],
            [
                [name, f"{found['bits_per_s'][name] / 1e6:.0f}", f"{found['retransmits'][name]:,}"]
                for name in found["bits_per_s"]
            ],
        )
    if "scale" in result:
        _scale(result["scale"])
    print(
        "Load: "
        + ", ".join(f"{part} {result[part]['load']:.0f}" for part in PARTS if part in result)
    )
    table(["budget", "asked for", "measured", "met"], list(_budgets(result)))


def _cases(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, case) for name, case in found.items() if name != "load"]


def _scale(found: dict[str, Any]) -> None:
    table(
        ["a lease, p50 ms", "empty", "full", "empty again", "of empty", "our processes, MB"],
        [
            [
                f"{name}, {who}",
                *(f"{case[when][who]:.1f}" for when in ("empty", "full", "empty_again")),
                f"{case[f'{who}_of_empty']:.2f}",
                ", ".join(f"{each:.0f}" for each in case["resident_mb"]),
            ]
            for name, case in _cases(found)
            for who in ("ours", "raw")
        ],
    )
    for name, case in _cases(found):
        print(
            f"{name}: {case['digested_s']:.0f} s until all hosts had it; our process, started "
            f"then: {case['resident_restarted_mb']:.0f} MB.\n"
        )


def _budgets(result: dict[str, Any]) -> Iterator[list[str]]:
    if "docker" in result:
        share = result["docker"]["of_two_bridges"]
        yield _row("docker run on a segment, of one on two bridges", "<= 1.10", share, share <= 1.1)
    if "ping" in result:
        answered, tried = result["ping"]["answered"], result["ping"]["tried"]
        yield [
            "first pings answered",
            f"{tried} of {tried}",
            str(answered),
            _met(answered == tried),
        ]
    for clients, each in _cases(result.get("leases", {})):
        what = f"leases/s of the raw client's, {clients} at once"
        yield _row(what, ">= 0.8", each["of_raw"], each["of_raw"] >= 0.8)
    for short in ("nb", "sb") if "gap" in result else ():
        worst = max(result["gap"][short]["first_s"]) - result["gap"]["usual_s"]
        what = f"a new container after the death of {short}'s leader, longer than usually, s"
        yield _row(what, "<= 3", worst, worst <= 3)
    if "traffic" in result:
        share = result["traffic"]["of_underlay"]
        yield _row("TCP between hosts, of the underlay", ">= 0.9", share, share >= 0.9)
    for name, case in _cases(result.get("scale", {})):
        most = max(*case["resident_mb"], case["resident_restarted_mb"])
        yield _row(f"{name}: our process, MB", "< 120", most, most < 120)
        share = case["ours_of_empty"]
        yield _row(f"{name}: a lease, of an empty fleet", "<= 1.5", share, share <= 1.5)


def _row(what: str, wanted: str, found: float, met: bool) -> list[str]:
    return [what, wanted, f"{found:.2f}", _met(met)]


def _met(met: bool) -> str:
    return "yes" if met else "NO"
