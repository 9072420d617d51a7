"""Brings what browsers load besides our own files: pinned, checked, and kept out of the sources.

``package-lock.json`` says what and with which hash, ``package.json`` which files of it. It needs
neither npm nor anything that is not Python's own, for it runs where wheels are built:
``python3 ovsdriver/web/bundle.py``. Another registry than npm's is taken from the variable
``npm_config_registry``, or from ``~/.npmrc``.
"""

import base64
import hashlib
import hmac
import io
import json
import os
import re
import sys
import tarfile
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).parent
INTO = HERE / "static" / "libraries"

_REGISTRY = "https://registry.npmjs.org/"
_TIMEOUT_S = 30
_MOST_BYTES = 20 << 20
_LOCK = "package-lock.json"


class BundleError(Exception):
    """Something could not be fetched, or is not what was pinned; the text is a sentence."""


def bundle(environ: Mapping[str, str] = os.environ, into: Path = INTO, pins: Path = HERE) -> None:
    """Put the files in place, those of each package at once; nothing to do if all are there.

    Args:
        environ: may name another registry.
        into: where to.
        pins: the folder of both files that say what.

    Raises:
        BundleError: something is missing then, and the page works without it.
    """
    chosen = json.loads((pins / "package.json").read_text(encoding="utf-8"))["bundle"]
    for name, address, integrity in _locked(pins):
        files = {inside: into / outside for inside, outside in chosen[name].items()}
        stamp = into / f".{name}"
        if _stamped(stamp, integrity) and all(each.is_file() for each in files.values()):
            continue
        package = _fetched(address.replace(_REGISTRY, _registry(environ), 1))
        _check(name, package, integrity)
        into.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        with tarfile.open(fileobj=io.BytesIO(package)) as archive:
            for inside, path in files.items():
                member = archive.extractfile(f"package/{inside}")
                if member is None:
                    raise BundleError(f"{name} has no file {inside}; mend package.json")
                path.write_bytes(member.read())
        stamp.write_text(integrity, encoding="utf-8")


def _locked(pins: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, address and hash of each package of the lock file."""
    locked = json.loads((pins / _LOCK).read_text(encoding="utf-8"))["packages"]
    for place, package in locked.items():
        if place:
            yield place.rpartition("node_modules/")[2], package["resolved"], package["integrity"]


def _registry(environ: Mapping[str, str]) -> str:
    named = environ.get("npm_config_registry") or environ.get("NPM_CONFIG_REGISTRY")
    if not named:
        try:
            said = (Path.home() / ".npmrc").read_text(encoding="utf-8")
        except (OSError, RuntimeError):
            said = ""
        found = re.search(r"(?m)^\s*registry\s*=\s*(\S+)", said)
        named = found[1] if found else _REGISTRY
    return named.rstrip("/") + "/"


def _fetched(address: str) -> bytes:
    if not address.startswith(("https://", "http://")):
        raise BundleError(f"{address} is not the address of a registry")
    try:
        # Whatever comes is compared with the hash that was pinned.
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return bytes(answer.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        raise BundleError(f"{address} cannot be fetched: {error}") from error


def _check(name: str, package: bytes, integrity: str) -> None:
    kind, _, wanted = integrity.partition("-")
    digest = base64.b64encode(hashlib.new(kind, package).digest()).decode()
    if kind != "sha512" or not hmac.compare_digest(digest, wanted):
        raise BundleError(f"{name} is not what {_LOCK} pins: its hash is {kind}-{digest}")


def _stamped(stamp: Path, integrity: str) -> bool:
    try:
        return stamp.read_text(encoding="utf-8") == integrity
    except OSError:
        return False


def main() -> int:
    """Bundle, for a shell; 1 with a sentence if it did not do."""
    try:
        bundle()
    except (BundleError, OSError) as error:
        sys.stderr.write(f"the page has no charts, and is whole otherwise: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
