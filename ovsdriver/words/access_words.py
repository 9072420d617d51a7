"""Access rules as people type them: ``to api.github.com tcp/443, from container:proxy``.

``[to|from] WHO [tcp|udp|icmp][/PORT[-PORT]]``, several with commas, or with ``+`` or ``;`` where a
comma ends the option. Parsers raise as those of ``values.py``.
"""

import re
from collections.abc import Iterable

from netaddr import IPNetwork

from ovsdriver.domain.records.options.access import AccessProtocol, AccessRule, PeerKind, Side
from ovsdriver.words import values
from ovsdriver.words.values import quote

_SEPARATORS = re.compile(r"[,;+]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MOST_NAME = 253
_MAPPED = IPNetwork("::ffff:0:0/96")
"""RFC 1035, 2.3.4: 255 bytes on the wire."""

_SIDES = {each.value: each for each in Side}
_WORDS = {each.value: each for each in (PeerKind.ANY, PeerKind.HOST, PeerKind.OUTSIDE)}
_OF_DOCKER = {each.value: each for each in (PeerKind.CONTAINER, PeerKind.NETWORK)}
_PROTOCOLS = {each.value: each for each in AccessProtocol}


def parse(typed: str | Iterable[str]) -> tuple[AccessRule, ...]:
    """Read rules, in one text or in several; each once."""
    texts = [typed] if isinstance(typed, str) else typed
    return tuple(dict.fromkeys(rule(part) for text in texts for part in _SEPARATORS.split(text)))


def text(rules: tuple[AccessRule, ...]) -> str:
    """Return what :func:`parse` reads."""
    return ", ".join(each.text for each in rules)


def rule(text: str) -> AccessRule:
    """Read one rule."""
    words = text.split()
    side = _SIDES.get(words[0].lower()) if words else None
    who, *what = (words[1:] if side else words) or [""]
    if not who or len(what) > 1:
        raise ValueError(f"{quote(text.strip())} is no rule; write it like to 10.1.0.0/16 tcp/443")
    protocol, first, last = _traffic(what[0]) if what else (None, None, None)
    kind, prefix, name = _peer(who)
    if kind is PeerKind.NAME and side is Side.FROM:
        raise ValueError(
            f"{quote(text.strip())}: DNS does not tell who begins a connection; name an address, "
            "or write `to`"
        )
    return AccessRule(
        side=side or Side.TO,
        peer=kind,
        prefix=prefix,
        name=name,
        protocol=protocol,
        first_port=first,
        last_port=last,
    )


def sets(text: str) -> tuple[str, ...]:
    """Read names of sets of rules, ``agent,base``; each once."""
    return tuple(dict.fromkeys(set_name(part.strip()) for part in _SEPARATORS.split(text)))


def set_name(text: str) -> str:
    """Read the name of a set of rules."""
    return values.label(text)


def _peer(text: str) -> tuple[PeerKind, IPNetwork | None, str]:
    lower = text.lower()
    if lower in _WORDS:
        return _WORDS[lower], None, ""
    before, colon, name = text.partition(":")
    kind = _OF_DOCKER.get(before.lower())
    if colon and kind is not None:
        return kind, None, values.label(name)
    # no top-level domain is a number: 10.0.0.1-10.0.0.9 would be a name that nobody ever has
    if ":" in text or "/" in text or lower.rstrip(".").rpartition(".")[2].isdecimal():
        return PeerKind.PREFIX, _prefix(text), ""
    return PeerKind.NAME, None, _dns(text)


def _prefix(text: str) -> IPNetwork:
    try:
        found = values.subnet(text) if "/" in text else IPNetwork(values.address(text))
    except ValueError:
        raise ValueError(
            f"{quote(text)} is no address; write it like 10.0.0.5, 10.1.0.0/16 or fd00::/48"
        ) from None
    if found.value != found.first:
        raise ValueError(f"{quote(text)} has host bits; write {found.cidr}")
    if found.version == 6 and found in _MAPPED:
        raise ValueError(f"{quote(text)} is of IPv4, and no packet of IPv6 has it; write 10.0.0.5")
    return found


def _dns(text: str) -> str:
    name = text.lower().removesuffix(".")
    bare = name.removeprefix("*.")
    if bare == name and "." not in name:
        near = values.nearest(name, [*_WORDS, *_SIDES])
        raise ValueError(
            f"{quote(text)} names nobody{near or f'; write container:{name} or network:{name}'}, "
            "or a DNS name, which has a dot"
        )
    if len(name) > _MOST_NAME or not all(map(_LABEL.fullmatch, bare.split("."))):
        raise ValueError(
            f"{quote(text)} is no DNS name; write it like api.example.com or *.example.com, and "
            "as xn--… where it has other letters"
        )
    return name


def _traffic(text: str) -> tuple[AccessProtocol, int | None, int | None]:
    word, slash, ports = text.partition("/")
    protocol = _PROTOCOLS.get(word.lower())
    if protocol is None or (slash and protocol is AccessProtocol.ICMP):
        raise ValueError(f"{quote(text)} is none of tcp, udp, icmp, tcp/443 and udp/5000-5010")
    if not slash:
        return protocol, None, None
    first_text, dash, last_text = ports.partition("-")
    first = values.integer(first_text, 1, 65535, "a port")
    last = values.integer(last_text, 1, 65535, "a port") if dash else first
    if first > last:
        raise ValueError(f"{quote(text)} is not a range; write {word}/{last}-{first}")
    return protocol, first, last
