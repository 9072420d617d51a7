"""What must not leave this host, and how it is taken out. Pure.

Parts are made so that secrets are not in them: labels and environments are not asked for, files of
keys not read. This is what is left: the configuration, and words that somebody put where we do not
know of them, such as the key of a tunnel in Open vSwitch.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

REMOVED = "(removed)"

_NAMES = re.compile(
    r"secret|passw|token|credential|psk|api_?key|auth|private_key$|cert_data", re.IGNORECASE
)
"""Of members whose value is taken out whatever it is."""
_PATHS = frozenset({"ovn_private_key"})
"""Settings that are called so and have the path of a file."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
_SAID = re.compile(
    r"(?P<name>[\w.-]*(?:secret|passw(?:or)?d|passphrase|token|psk|api_?key)[\w.-]*)"
    r"(?P<between>\"\s*,\s*\"|\"?\s*[=:]\s*\"?)(?P<value>[^\s\",}\]]+)",
    re.IGNORECASE,
)
_KEY = re.compile(r"-----BEGIN [^-]*PRIVATE KEY-----.*?(-----END [^-]*PRIVATE KEY-----|\Z)", re.S)
_SHORTEST = 4
"""Characters of a secret that is looked for wherever it is."""


def cleared(value: Any, name: str = "") -> Any:
    """Return what JSON has, without secrets: values of members that are called so, and in URLs."""
    if isinstance(value, Mapping):
        return {key: cleared(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [cleared(each, name) for each in value]
    if value in (None, "", False, True) or name in _PATHS:
        return value
    if _NAMES.search(name):
        return REMOVED
    return url_cleared(value) if isinstance(value, str) else value


def url_cleared(text: str) -> str:
    """Return a text whose URLs have only scheme, host and port: a path may be a secret, too."""
    return _URL.sub(lambda found: _bare(found[0]), text)


def _bare(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme in ("unix", "file"):
        return url
    host = parts.netloc.rpartition("@")[2]
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return f"{parts.scheme}://{host}" + (f"/{REMOVED}" if rest else "")


def values_of(value: Any, name: str = "") -> Iterator[str]:
    """Give the secrets of a configuration: what :func:`cleared` takes out of it."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from values_of(each, str(key))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from values_of(each, name)
    elif isinstance(value, str) and name not in _PATHS:
        if _NAMES.search(name):
            yield value
        for url in _URL.findall(value):
            if _bare(url) != url:
                yield from _secret_parts(url)


def _secret_parts(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    yield url
    yield from (each for each in (parts.path.strip("/"), parts.query, parts.password) if each)


class Secrets:
    """Takes known secrets, and what looks like one, out of any text."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """``known``: values that are secret wherever they stand."""
        longest_first = sorted({each for each in known if len(each) >= _SHORTEST}, key=len)[::-1]
        words = "|".join(map(re.escape, longest_first))
        self._known = re.compile(words) if words else None

    def text(self, text: str) -> str:
        """Return a text without them."""
        if self._known is not None:
            text = self._known.sub(REMOVED, text)
        text = _KEY.sub(REMOVED, text)
        return _SAID.sub(lambda found: f"{found['name']}{found['between']}{REMOVED}", text)
