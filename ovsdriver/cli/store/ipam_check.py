"""``ovsnet ipam check``."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ovsdriver.adapters.store import storefile
from ovsdriver.adapters.store.tools import inspection
from ovsdriver.adapters.store.tools.inspection import Fault
from ovsdriver.adapters.store.tools.snapshot import contents
from ovsdriver.admin import asks
from ovsdriver.cli import show
from ovsdriver.cli.daemon import NotRunning, ask
from ovsdriver.cli.doctor import Finding, Level
from ovsdriver.cli.doctor.finding import fail, ok, warn
from ovsdriver.cli.doctor.verdict import print_findings
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit, Refusal, refusals
from ovsdriver.config import Settings
from ovsdriver.domain.records.segments import segment_of

LOOKS = 5
"""At what changes while it is looked at, before a difference is believed."""

PAUSE_S = 0.5
"""Between two looks: longer than any commit is on its way."""


@click.command(name="check", epilog=EXIT_CODES, short_help="Look whether the store is sound.")
@settings_of("run_dir", "state_dir")
@JSON
@click.pass_context
def command(ctx: click.Context, settings: Settings, as_json: bool) -> None:
    """Look whether the store is whole and what it holds fits together; changes nothing.

    Looks at the file, at pools and leases, at the records of networks and endpoints, and, if
    ovsnet runs, whether it counts the same addresses as its store. It goes on working meanwhile.
    The exit code is 1 if any line is `fail`.

    \b
    Examples:
      ovsnet ipam check
      ovsnet ipam check --json | jq -r '.[] | select(.level == "fail") | .text'
    """
    with refusals():
        findings = _examine(settings)
    if as_json:
        show.as_json([asdict(each) for each in findings])
    else:
        show_findings(findings)
    bad = any(each.level is Level.FAIL for each in findings)
    ctx.exit(Exit.REFUSED if bad else Exit.OK)


def _examine(settings: Settings) -> list[Finding]:
    store = settings.state_dir / storefile.NAME
    with contents(store) as connection:
        damage = list(inspection.damage(connection))
        if damage:
            return [_fault(Fault(subject="file", text=f"it is damaged: {e}")) for e in damage]
        counts = inspection.counts(connection)
        limits = _limits(settings, inspection.of_spaces(connection))
    process = _compare(store, settings)
    faults = _lasting_faults(store, once=process is None)
    subjects = {each.subject for each in faults}
    wells = {
        "file": f"{store} is whole",
        "pools": show.plural(counts.pools, "pool"),
        "leases": f"{show.plural(counts.leases, 'held address', 'held addresses')}, "
        f"{show.plural(counts.memories, 'free one', 'free ones')} remembered",
        "reservations": show.plural(counts.reservations, "reservation"),
        "networks": show.plural(counts.networks, "network record"),
        "endpoints": show.plural(counts.endpoints, "endpoint record"),
    }
    findings = []
    for subject, text in wells.items():
        findings += [_fault(each) for each in faults if each.subject == subject]
        findings += [] if subject in subjects else [ok(subject, text)]
    findings += limits
    return [*findings, process or ok("ovsnet", "does not run, so there is nothing to compare")]


def _limits(settings: Settings, spaces: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Name the spaces that hold more than the configuration allows by now."""
    findings = []
    for limit in settings.limits:
        pools, addresses = spaces.get(limit.space, (0, 0))
        for count, most, what in (
            (pools, limit.pools, "pools"),
            (addresses, limit.addresses, "held addresses"),
        ):
            if most is not None and count > most:
                text = f"space {limit.space} has {count} {what} and may have {most}"
                findings.append(
                    warn(
                        "limits",
                        text,
                        "remove some: the space gets no more until it is below its limit",
                    )
                )
    return findings


def _lasting_faults(store: Path, *, once: bool) -> list[Fault]:
    """Return what is wrong at every look: the steps of one call of Docker's are several commits."""
    lasting: list[Fault] = []
    for look in range(LOOKS):
        with contents(store) as connection:
            found = list(inspection.faults(connection))
        lasting = [each for each in found if not look or each in lasting]
        if once or not lasting:
            break
        if look < LOOKS - 1:
            time.sleep(PAUSE_S)
    return lasting


def _compare(store: Path, settings: Settings) -> Finding | None:
    """Say whether the process counts what the store holds; None if there is no process."""
    differing: list[str] = []
    for look in range(LOOKS):
        try:
            before = _held(store)
            pools = ask(settings, asks.ListPools())
            memory: dict[str, int] = {
                each.pool.id: each.usage.held
                for each in pools
                if segment_of(each.pool.id) is None  # those are in OVN's database
            }
        except NotRunning:
            return None
        except Refusal as error:
            remedy = "ovsnet status"
            return fail("ovsnet", f"could not be compared with its store: {error.message}", remedy)
        found = _differing(before, memory, _held(store))
        differing = [each for each in found if not look or each in differing]
        if not differing:
            return ok("ovsnet", f"counts the same in {show.plural(len(memory), 'pool')}")
        if look < LOOKS - 1:
            time.sleep(PAUSE_S)
    return fail(
        "ovsnet",
        f"counts other addresses than its store holds, in {', '.join(differing)}",
        "if --run-dir and --state-dir are of one process: systemctl restart ovsnet, which reads "
        "the store again; containers keep running",
    )


def _held(store: Path) -> dict[str, int]:
    with contents(store) as connection:
        return dict(inspection.held(connection))


def _differing(before: dict[str, int], memory: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return the pools that stood still in the store and are counted otherwise in memory."""
    still = {pool: count for pool, count in before.items() if after.get(pool) == count}
    strange = memory.keys() - before.keys() - after.keys()
    return sorted({pool for pool in still if memory.get(pool) != still[pool]} | strange)


def _fault(fault: Fault) -> Finding:
    return fail(fault.subject, fault.text, fault.remedy)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what is wrong in a store, with what to do."""
    print_findings(findings, bad="{} wrong", warned="nothing is wrong; {}")
