"""``ovsnet status``."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import click
from rich.text import Text

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.views import (
    Counts,
    DockerReport,
    FleetReport,
    MendedReport,
    RepairReport,
    Status,
    SwitchReport,
    TimedChange,
)
from ovsdriver.cli import show
from ovsdriver.cli.daemon import NotRunning, ask
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit, Refusal
from ovsdriver.config import Settings

_SHOWN = 10
"""Repairs that are listed."""


@click.command(name="status", epilog=EXIT_CODES)
@settings_of("run_dir", salvaged=True)
@JSON
@click.pass_context
def command(ctx: click.Context, settings: Settings, fault: str, as_json: bool) -> None:
    """Say whether all is well, and what was repaired.

    \b
    Examples:
      ovsnet status
      ovsnet status --json | jq .counts
    """
    try:
        status = ask(settings, asks.ShowStatus())
    except NotRunning as error:
        if fault:
            # Without it the process might be found elsewhere.
            raise Refusal(fault) from error
        if as_json:
            show.as_json({"running": False, "error": error.message})
            ctx.exit(error.exit_code)
        raise
    if fault and fault not in status.degraded:
        sentence = f"the configuration is wrong, so the next start will serve nothing: {fault}"
        status = replace(status, warnings=(sentence, *status.warnings))
    if as_json:
        show.as_json({"running": True} | codec.members(status))
    else:
        _print(status)
    ctx.exit(Exit.OK if _well(status) else Exit.REFUSED)


def _well(status: Status) -> bool:
    cut_off = status.fleet is not None and not status.fleet.connected
    return not status.degraded and status.open_vswitch.connected and not cut_off


def _print(status: Status) -> None:
    show.line(
        f"ovsnet {status.version} is running, process {status.pid}, for "
        f"{show.duration(status.uptime_s)}"
    )
    if status.degraded:
        show.line(Text(f"degraded: {status.degraded}", style="bold red"))
    show.facts(
        [
            ("Open vSwitch", _switch(status.open_vswitch)),
            ("Docker", _docker(status.docker)),
            ("Records", _counts(status.counts)),
            *(("Uplink", each) for each in status.uplinks),
            *(("For a while", _timed(each)) for each in status.timed),
            *_fleet(status.fleet),
            ("Last look", _look(status.repairs)),
        ]
    )
    repairs = status.repairs
    if status.fleet is not None:
        show.listed("Released when OVN's database answers:", status.fleet.waiting, style="yellow")
    show.listed("Mended lately:", _lately(repairs.lately), style="green")
    show.listed("Could not be mended:", repairs.failed, style="red")
    show.listed("For you to mend:", repairs.beyond, style="yellow")
    show.listed("Removed if Docker goes on not listing it:", repairs.doubted, style="yellow")
    show.listed("Warnings:", status.warnings, style="yellow")


def _timed(change: TimedChange) -> str:
    options = " ".join(f"{name}={text}" for name, text in sorted(change.options.items()))
    left = show.duration(max(change.turns - time.time(), 0))
    when = f"for {left} more" if change.holds else f"again in {left}"
    return f"{change.name or show.short(change.id)}: {options} {when}"


def _switch(switch: SwitchReport) -> Text:
    if not switch.connected:
        return Text("not connected; `ovsnet check` says why", style="red")
    version = f", version {switch.version}" if switch.version else ""
    used = " and ".join(switch.datapaths)
    return Text(f"connected{version}{f', bridges are {used}' if used else ''}")


def _docker(docker: DockerReport) -> Text:
    if not docker.answered:
        return Text("does not answer, so names are not known", style="yellow")
    return Text(docker.version)


def _counts(counts: Counts | None) -> Text:
    if counts is None:
        return Text("cannot be read", style="red")
    return Text(
        ", ".join(
            (
                show.plural(counts.networks, "network"),
                show.plural(counts.endpoints, "endpoint"),
                show.plural(counts.pools, "pool"),
                show.plural(counts.leases, "leased address", "leased addresses"),
            )
        )
    )


def _fleet(fleet: FleetReport | None) -> Iterable[tuple[str, str | Text]]:
    if fleet is None:
        return
    if not fleet.host:
        yield "Fleet", Text(fleet.nameless, style="red")
    else:
        segments = show.plural(fleet.segments, "segment")
        networks = show.plural(fleet.networks, "network")
        pools = show.plural(fleet.pools, "pool")
        yield "Fleet", f"host {fleet.host} of {segments}, with {networks} and {pools} on them"
    since = show.duration(time.time() - fleet.since)
    if fleet.connected:
        others = ", ".join(each for each in fleet.northbound if each != fleet.server)
        beside = f"; others: {others}" if others else ""
        yield "Northbound", f"{fleet.server} leads, connected for {since}{beside}"
    else:
        yield "Northbound", Text(f"not connected for {since}: {fleet.why}", style="red")
    if fleet.southbound:
        yield "Southbound", ", ".join(fleet.southbound)
    else:
        yield "Southbound", Text("not said; `ovsnet check` says what to do", style="yellow")


def _lately(repairs: Sequence[MendedReport]) -> Iterable[str]:
    for each in repairs[:_SHOWN]:
        yield f"{show.duration(time.time() - each.at)} ago: {each.what}"
    if len(repairs) > _SHOWN:
        yield f"and {len(repairs) - _SHOWN} more (--json)"


def _look(repairs: RepairReport) -> Text:
    if not repairs.at:
        return Text("none yet")
    ago = show.duration(time.time() - repairs.at)
    if repairs.failed:
        return Text(f"{ago} ago, {len(repairs.failed)} could not be mended", style="red")
    if repairs.mended:
        return Text(f"{ago} ago, {len(repairs.mended)} mended")
    return Text(f"{ago} ago, nothing to mend")
