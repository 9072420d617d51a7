"""Where ovsdb-server listens, and what proves who is who on ``ssl:``."""

import contextlib
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ovsdriver.adapters.ovsdb.errors import ConnectionLostError
from ovsdriver.errors import ConfigurationError

_DEFAULT_PORT = 6640
"""IANA's for OVSDB (RFC 7047, section 6)."""


@dataclass(frozen=True, slots=True)
class Address:
    """One server, as Open vSwitch's own tools write it."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0
    encrypted: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``unix:PATH``, ``tcp:HOST``, ``tcp:HOST:PORT``, ``tcp:[IPV6]:PORT``, ``ssl:…``.

        Raises:
            ConfigurationError: it is none of these.
        """
        kind, _, rest = text.partition(":")
        if kind == "unix" and rest:
            return cls(text, path=rest)
        if kind in ("tcp", "ssl") and rest:
            host, port = _host_and_port(rest)
            if _is_host(host) and port.isdecimal() and 0 < int(port) < 65536:
                return cls(text, host=host, port=int(port), encrypted=kind == "ssl")
        raise ConfigurationError(
            f"{text!r} is not an address of an OVSDB server: write unix:PATH, tcp:HOST:PORT or "
            "ssl:[IPV6]:PORT, such as unix:/run/openvswitch/db.sock"
        )


def _is_host(text: str) -> bool:
    """Whether it can be asked for: asyncio passes it on by this codec."""
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False


def _host_and_port(rest: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        return host, port.removeprefix(":") or str(_DEFAULT_PORT)
    if rest.count(":") > 1:
        return "", ""  # IPv6 without brackets: where would the port begin?
    host, _, port = rest.partition(":")
    return host, port or str(_DEFAULT_PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """PEM files. Whoever has a certificate of ``ca`` is trusted, under whatever name."""

    private_key: Path
    certificate: Path
    ca: Path

    def context(self) -> ssl.SSLContext:
        """Read the files as they are now: they are renewed while we run.

        Raises:
            ConnectionLostError: one of them cannot be read, or key and certificate do not match.
        """
        # not create_default_context(): its X509_STRICT refuses the CAs that ovs-pki makes
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with _reading(self.ca):
            context.load_verify_locations(self.ca)
        with _reading(self.certificate):
            context.load_cert_chain(self.certificate, self.private_key)
        return context

    def refusal(self, error: ssl.SSLError) -> ConnectionLostError:
        """Say which side refused which certificate."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return ConnectionLostError(
                f"its certificate is not of the CA in {self.ca}: {error.verify_message}"
            )
        if "ALERT" in (error.reason or ""):
            return ConnectionLostError(f"it refuses {self.certificate}: {_why(error)}")
        return ConnectionLostError(f"no TLS: {_why(error)}")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise ConnectionLostError(f"{path} is of no use: {_why(error)}") from error
    except OSError as error:
        raise ConnectionLostError(f"{path} cannot be read: {error.strerror}") from error


def _why(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Servers:
    """Those that serve one database."""

    addresses: tuple[Address, ...]
    clustered: bool = False
    """They are members of one cluster, of whom only the leader is of use; one may be alone."""
    certificates: Certificates | None = None

    @classmethod
    def parse(
        cls,
        addresses: Sequence[str],
        *,
        clustered: bool = False,
        certificates: Certificates | None = None,
    ) -> Self:
        """Read their addresses, at least one.

        Raises:
            ConfigurationError: one is no address, or is ``ssl:`` and there are no certificates.
        """
        parsed = tuple(Address.parse(each) for each in addresses)
        if certificates is None and (bare := [each.text for each in parsed if each.encrypted]):
            raise ConfigurationError(
                f"{bare[0]} needs a private key, a certificate and the CA's certificate"
            )
        return cls(parsed, clustered, certificates)
