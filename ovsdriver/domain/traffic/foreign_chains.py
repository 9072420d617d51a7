"""What other people's chains at the forward hook do to packets that our table accepted. Pure.

Only what is certainly dropped is a finding.
"""

import shlex
from collections.abc import Iterable, Sequence

from ovsdriver.domain.traffic.chains import BaseChain, Packet, Verdict, judge
from ovsdriver.domain.traffic.firewall import ACCEPT_MARK

DOCKER_USER = "DOCKER-USER"
"""The chain that Docker leaves to administrators: what they drop there is meant."""

_MARK_RULE = f"-m mark --mark {ACCEPT_MARK:#x}/{ACCEPT_MARK:#x} -j ACCEPT"


def crossing(*, family: int, gateway: str, outgoing: str) -> tuple[Packet, Packet]:
    """Return the first packet of a connection outwards, and an answer to it."""
    return (
        Packet(family=family, incoming=gateway, outgoing=outgoing, state="new"),
        Packet(family=family, incoming=outgoing, outgoing=gateway, state="established"),
    )


def drops(chain: BaseChain, packet: Packet) -> Sequence[str]:
    """Return where ``chain`` certainly drops ``packet``; empty if it may not.

    That is the names of the chains that lead there, the last of which drops; its policy has no
    name.
    """
    judged = judge(chain, packet)
    return judged.path if judged.verdict is Verdict.DROP else ()


def finding(chain: BaseChain, packets: Iterable[Packet]) -> str:
    """Return a sentence if ``chain`` drops one of ``packets``, and what to type; else nothing."""
    for packet in packets:
        path = drops(chain, packet) if packet.family in chain.families else ()
        if path:
            what = (
                "what containers of nat networks send out"
                if packet.state == "new"
                else "the answers to containers of nat networks"
            )
            meant = DOCKER_USER in path
            who = title(chain, DOCKER_USER if meant else chain.name)
            how = _exemption(chain) if meant else cure(chain)
            return f"{who} drops {what} over IPv{packet.family} ({_why(path)}); {how}"
    return ""


def _why(path: Sequence[str]) -> str:
    return "its policy is drop" if not path[-1] else f"a rule of chain {path[-1]}"


def title(chain: BaseChain, name: str) -> str:
    """Return what people call a chain of a base chain's table."""
    if chain.program == "nft":
        return f"nftables chain {chain.family} {chain.table} {name}"
    return f"{chain.program} chain {name}"


def _exemption(chain: BaseChain) -> str:
    """Say what to type where an administrator's own drop may not be meant for us."""
    typed = _insert(chain, DOCKER_USER)
    return f"ovsnet keeps to it; to except its networks, type: {typed}"


def cure(chain: BaseChain) -> str:
    """Say what to type so that a chain at the forward hook lets pass what our table accepted."""
    if chain.table == "firewalld":
        # Its zones are the only way in: what others add to its table is lost, or not let in at all.
        return "type: ovsnet firewalld"
    if chain.program == "nft":
        return (
            f"type: {_insert(chain, chain.name)}, and put it into the file that this host loads "
            "its rules from"
        )
    for ufw, file in (
        ("ufw-before-forward", "before.rules"),
        ("ufw6-before-forward", "before6.rules"),
    ):
        if ufw in chain.chains:
            return (
                f"put the line '-A {ufw} {_MARK_RULE}' before COMMIT of *filter in "
                f"/etc/ufw/{file} and type: ufw reload"
            )
    command = _insert(chain, chain.name)
    if any(rule.target == DOCKER_USER for rule in chain.chains.get(chain.name, ())):
        # Before the accept, or what administrators drop there would bind us no more.
        command = f"{command} && {chain.program} -I {chain.name} -j {DOCKER_USER}"
    return f"type: {command}, and save it the way this host saves its rules"


def _insert(chain: BaseChain, name: str) -> str:
    """Return the command that has a chain accept what our table accepted, before all else."""
    if chain.program == "nft":
        where = " ".join(map(shlex.quote, (chain.family, chain.table, name)))
        return f"nft insert rule {where} 'meta mark & {ACCEPT_MARK:#x} == {ACCEPT_MARK:#x} accept'"
    return f"{chain.program} -I {name} {_MARK_RULE}"
