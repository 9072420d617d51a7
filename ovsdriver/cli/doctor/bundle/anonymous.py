"""Names and addresses, each replaced by the same other one everywhere. Pure.

Addresses that share a prefix share one as long afterwards, so subnets stay subnets. The key is made
for one bundle and kept nowhere.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:]|\.\d)")
_MAC = re.compile(r"(?<![\w:-])[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}(?![\w:-])")
_PLAIN = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"),
            *("::/127", "fe80::/64", "ff00::/8"),
        ),
    )
)
"""Addresses that say nothing of a network: they stay, but for what a link-local one is made of."""
_LINK_LOCAL = ip_network("fe80::/10")
_INTERFACE = (1 << 64) - 1
"""Bits of an IPv6 address that are a link's own."""
_EVERYBODY = ("ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00")
_WELL_KNOWN = ("01:80:c2", "01:00:0c")
_KEPT = frozenset(
    {"bridge", "host", "none", "default", "ovsnet", "ovsipam", "null", "br-int", "root"}
)
"""Names that everybody has."""


class Anonymous:
    """Replaces them in texts."""

    def __init__(self, key: bytes, names: Mapping[str, Iterable[str]]) -> None:
        """Learn what is to be replaced.

        Args:
            key: what the others are made with.
            names: by kind, which the others begin with: ``container``: ``web``, ``db``.
        """
        self._key = key
        self._names = {
            name: f"{kind}-{number}"
            for kind, of in names.items()
            for number, name in enumerate(sorted({*of} - _KEPT - {""}), start=1)
        }
        longest_first = sorted(self._names, key=len, reverse=True)
        words = "|".join(map(re.escape, longest_first))
        self._words = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])") if words else None
        self._bit = cache(self._coin)

    def text(self, text: str) -> str:
        """Return a text with the others in it."""
        if self._words is not None:
            text = self._words.sub(lambda found: self._names[found[0]], text)
        text = _MAC.sub(lambda found: self._mac(found[0]), text)
        text = _IPV6.sub(lambda found: self._address(found[0]), text)
        return _IPV4.sub(lambda found: self._address(found[0]), text)

    def _address(self, text: str) -> str:
        try:
            address = ip_address(text)
        except ValueError:
            return text
        if any(address in each for each in _PLAIN if each.version == address.version):
            made = address in _LINK_LOCAL and int(address) & _INTERFACE
            return str(self._mapped(address, 64)) if made else text
        return str(self._mapped(address, 0))

    def _mapped(self, address: IPv4Address | IPv6Address, kept: int) -> object:
        """Return the other address; each bit depends on those before it. ``kept``: so many stay."""
        bits = address.max_prefixlen
        value = int(address)
        other = value
        for place in range(kept, bits):
            other ^= self._bit(bits, place, value >> (bits - place)) << (bits - 1 - place)
        return type(address)(other)

    def _coin(self, bits: int, place: int, prefix: int) -> int:
        said = f"{bits}/{place}/{prefix}".encode()
        return hmac.digest(self._key, said, hashlib.sha256)[0] & 1

    def _mac(self, text: str) -> str:
        plain = text.lower().replace("-", ":")
        if plain in _EVERYBODY or plain.startswith(_WELL_KNOWN):
            return text
        other = hmac.digest(self._key, plain.encode(), hashlib.sha256)
        # locally administered; the bit of groups stays what it was
        first = (other[0] & 0xFC) | 0x02 | (int(plain[:2], 16) & 0x01)
        return ":".join(f"{each:02x}" for each in (first, *other[1:6]))
