"""``ovsnet ipam pools | leases | release``."""

from collections.abc import Callable, Iterator, Sequence

import click
from netaddr import IPAddress
from rich.text import Text

from ipam.model import LeaseKind, Usage
from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.views import LeaseUse, PoolUse
from ovsdriver.cli import show
from ovsdriver.cli.addresses import ipam_reserve
from ovsdriver.cli.daemon import ask, typed
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.cli.store import ipam_store
from ovsdriver.config import Settings
from ovsdriver.words import values

PAGE = 1000
"""Leases asked for at once."""

_BAR = 10


@click.group(name="ipam", epilog=EXIT_CODES)
def command() -> None:
    """Show pools and who holds their addresses; reserve or release some by hand."""


@command.command(name="pools", epilog=EXIT_CODES, short_help="List pools and how full they are.")
@click.argument("which", metavar="[POOL|NETWORK]", default="")
@settings_of("run_dir")
@JSON
def pools(settings: Settings, which: str, as_json: bool) -> None:
    """List pools with range, network and how full they are.

    POOL is an id or a subnet, NETWORK is Docker's name or the begin of its id. A pool that no
    network has, neither here nor in Docker, is an orphan; `ovsnet ipam release` frees it. HELD is
    of all addresses of the subnet, FREE those that are left for containers that name none. Pools
    with reserved addresses, with resting ones, which are free and not chosen for a while, or with
    options of their own make further columns.

    \b
    Examples:
      ovsnet ipam pools
      ovsnet ipam pools --json | jq -r '.[] | select(.usage.free == 0) | .pool.subnet'
    """
    there = ask(settings, asks.ListPools(of=which))
    if as_json:
        show.as_json(there)
        return
    further = [(heading, shown) for heading, shown in _FURTHER if any(map(shown, there))]
    show.table(
        (
            *("SUBNET", "SPACE", "RANGE", "NETWORK", "HELD", "USED", "FREE"),
            *(heading for heading, _ in further),
            *("CHOSEN", "POOL ID"),
        ),
        [
            (
                str(each.pool.subnet),
                each.pool.space,
                str(each.pool.window or "-"),
                _network(each),
                f"{each.usage.held}/{show.amount(each.usage.capacity)}",
                _used(each.usage),
                show.amount(each.usage.free),
                *(shown(each) or "-" for _, shown in further),
                "automatic" if each.pool.automatic else "typed",
                each.pool.id,
            )
            for each in there
        ],
    )


def _options(use: PoolUse) -> str:
    """Return a pool's options as they are typed, without the ``ipam.`` of each."""
    pool = use.pool
    said = [
        f"exclude={','.join(map(codec.range_text, pool.excluded))}" if pool.excluded else "",
        f"quarantine={_duration(pool.quarantine_s)}" if pool.quarantine_s else "",
        f"limit={pool.limit}" if pool.limit is not None else "",
        "probe" if pool.probe else "",
    ]
    return " ".join(filter(None, said))


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


_FURTHER: Sequence[tuple[str, Callable[[PoolUse], str]]] = (
    ("RESERVED", lambda use: str(use.usage.reserved or "")),
    ("RESTING", lambda use: str(use.usage.resting or "")),
    ("OPTIONS", _options),
)
"""Columns that are shown only where a pool has something in them."""


@command.command(name="leases", epilog=EXIT_CODES, short_help="List held addresses and holders.")
@click.argument("which", metavar="[POOL|NETWORK|ADDRESS]", default="")
@settings_of("run_dir")
@JSON
def leases(settings: Settings, which: str, as_json: bool) -> None:
    """List held addresses, who holds them and since when.

    POOL is an id or a subnet, NETWORK is Docker's name or the begin of its id; without one, all
    pools are listed. An ADDRESS may have a holder in each space. Read page by page: what changes
    meanwhile may or may not be in it.

    \b
    Examples:
      ovsnet ipam leases lab
      ovsnet ipam leases 172.24.0.7
    """
    try:
        address = values.address(which)
    except ValueError:
        there: Sequence[PoolUse] = ask(settings, asks.ListPools(of=which))
        rows: Iterator[Held] = (
            (pool, lease) for pool in there for lease in _leases(settings, pool)
        )
    else:
        pools = ask(settings, asks.ListPools())
        there = [each for each in pools if address in each.pool.subnet]
        rows = iter(_holders(settings, address, there))
    if as_json:
        _print_json(rows)
    else:
        _print_rows(rows, there)


@command.command(
    name="release", epilog=EXIT_CODES, short_help="Release an address or a pool by hand."
)
@click.argument("what", metavar="ADDRESS|POOL")
@click.option("--pool", default="", metavar="POOL", help="The pool's id or subnet.")
@click.option("--network", default="", metavar="NAME", help="The pool's network.")
@click.option("--force", is_flag=True, help="Also if something holds it, or may hold it.")
@settings_of("run_dir")
@JSON
def release(
    settings: Settings, what: str, pool: str, network: str, force: bool, as_json: bool
) -> None:
    """Release an address whose holder is gone, or a pool whose network is gone.

    Usually this is not needed: containers release their addresses, and leftovers are collected. An
    address that a living container has would be given to a second one. POOL is an id as `ovsnet
    ipam pools` shows it, and goes with all of its addresses.

    \b
    Examples:
      ovsnet ipam release 172.24.0.7
      ovsnet ipam release 10.0.0.5 --network team1 --force
      ovsnet ipam release ovsnet/172.24.4.0/24/3.7
    """
    if what.count("/") > 1:  # an address has none, a subnet one
        if pool or network:
            raise click.UsageError(f"{what} is a pool; --pool and --network go with an address")
        _release_pool(settings, what, force=force, as_json=as_json)
        return
    wish = typed(asks.Release, address=what, pool=pool, network=network, force=force)
    released = ask(settings, wish)
    if as_json:
        show.as_json(released)
    else:
        show.line(
            f"released {released.lease.address} of pool {released.lease.pool}, which was held by "
            f"{released.holder}"
        )


for _each in (ipam_reserve.reserve, *ipam_store.COMMANDS):
    command.add_command(_each)


def _release_pool(settings: Settings, pool: str, *, force: bool, as_json: bool) -> None:
    released = ask(settings, asks.ReleasePool(pool=pool, force=force))
    if as_json:
        show.as_json(released)
        return
    held = show.plural(released.addresses, "address", "addresses")
    gone = released.pool
    show.line(f"released pool {gone.subnet} of space {gone.space}, with {held}")


def _network(pool: PoolUse) -> str | Text:
    if pool.orphan:
        return Text("(orphan)", style="yellow")  # no network in Docker has a name with brackets
    return pool.network_name or show.short(pool.network or "-")


Held = tuple[PoolUse, LeaseUse]
"""A lease, behind the pool that it is of."""


def _leases(settings: Settings, use: PoolUse) -> Iterator[LeaseUse]:
    pool = use.pool.id
    page = ask(settings, asks.ListLeases(pool=pool, limit=PAGE))
    yield from page.leases
    while page.next is not None:
        page = ask(settings, asks.ListLeases(pool=pool, limit=PAGE, after=page.next))
        yield from page.leases


def _holders(settings: Settings, address: IPAddress, pools: Sequence[PoolUse]) -> Sequence[Held]:
    """Return the leases of one address, of which each pool has at most one."""
    if not pools:
        raise Refusal(f"no pool here has the address {address}; `ovsnet ipam pools` lists them")
    found = []
    for pool in pools:
        page = ask(settings, asks.ListLeases(pool=pool.pool.id, after=address - 1, limit=1))
        found += [(pool, each) for each in page.leases if each.lease.address == address]
    if not found:
        subnets = ", ".join(f"{each.pool.subnet} of space {each.pool.space}" for each in pools)
        raise Refusal(f"nobody holds {address} of {subnets}")
    return found


def _print_json(rows: Iterator[Held]) -> None:
    # One a line and as they come: there may be a million.
    before = "[\n"
    for pool, lease in rows:
        where = {"space": pool.pool.space, "subnet": pool.pool.subnet}
        click.echo(f"{before}{show.json_text(where | codec.members(lease))}", nl=False)
        before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")


def _print_rows(rows: Iterator[Held], pools: Sequence[PoolUse]) -> None:
    # The widths are known before the rows are, so that these may be printed as they come.
    subnet = max((len(str(each.pool.subnet)) for each in pools), default=0)
    address = 39 if any(each.pool.family == 6 for each in pools) else 15
    spaces = {each.pool.space for each in pools}
    # Only where it tells something: the same subnet may be in several.
    space = max(5, *map(len, spaces)) if len(spaces) > 1 else 0
    of_space = f"{{:{space}}}   " if space else "{:.0}"
    layout = f"{{:{address}}}   {{:8}}   {{:19}}   {{:{subnet}}}   {of_space}{{}}"
    heads = ("ADDRESS", "KIND", "SINCE (UTC)", "SUBNET", "SPACE", "HOLDER")
    click.secho(layout.format(*heads), bold=True)
    for of, use in rows:
        pool, lease = of.pool, use.lease
        click.echo(
            layout.format(
                *(str(lease.address), LeaseKind.AUX if use.auxiliary else lease.kind),
                *(show.time(lease.created), str(pool.subnet), pool.space, _who(use)),
            )
        )


def _who(use: LeaseUse) -> str:
    if use.auxiliary:
        return values.printable(use.auxiliary_name or "-")
    endpoint = f"endpoint {show.short(use.endpoint)}" if use.endpoint else "-"
    on = f" on {use.lease.host}" if use.lease.host else ""
    return values.printable((use.container or use.lease.name or endpoint) + on)


def _used(usage: Usage) -> Text:
    held, capacity = usage.held, usage.capacity
    # Neither empty while one is held nor full while one is free.
    filled = min(-(-held * _BAR // capacity), _BAR - (held < capacity))
    percent = held * 100 // capacity
    style = "red" if percent >= 90 or not usage.free else "yellow" if percent >= 70 else "green"
    return Text(f"[{'#' * filled}{'.' * (_BAR - filled)}] {percent}%", style=style)
