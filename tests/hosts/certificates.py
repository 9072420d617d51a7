"""Keys and certificates of a fleet, by openssl as an administrator would make them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_CA = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a host is: paths of its key, of its certificate, and of that of its authority."""

    key: Path
    certificate: Path
    authority: Path

    def flags(self) -> tuple[str, ...]:
        """Return what the programs of Open vSwitch and OVN are told."""
        return (
            f"--private-key={self.key}",
            f"--certificate={self.certificate}",
            f"--ca-cert={self.authority}",
        )


class Authority:
    """Signs certificates; all its files are in one folder."""

    def __init__(self, folder: Path, name: str = "fleet") -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._name = name
        self._request(name, "-x509", "-days", "30", *_CA, "-out", f"{name}.crt")

    def issue(self, name: str, address: str) -> Identity:
        """Return the identity of a host: its name is the common name, as roles of OVN want it."""
        extensions = self._folder / f"{name}.extensions"
        extensions.write_text(f"subjectAltName=DNS:{name},IP:{address}\n")
        self._request(name, "-out", f"{name}.csr")
        signed = ("x509", "-req", "-days", "30", "-in", f"{name}.csr", "-out", f"{name}.crt")
        by = ("-CA", f"{self._name}.crt", "-CAkey", f"{self._name}.key", "-CAcreateserial")
        self._openssl(*signed, *by, "-extfile", extensions.name)
        return Identity(
            self._folder / f"{name}.key",
            self._folder / f"{name}.crt",
            self._folder / f"{self._name}.crt",
        )

    def _request(self, name: str, *words: str) -> None:
        made = ("-keyout", f"{name}.key", "-subj", f"/O=ovsnet tests/CN={name}")
        self._openssl("req", "-new", *_CURVE, *made, *words)

    def _openssl(self, *words: str) -> None:
        subprocess.run(("openssl", *words), cwd=self._folder, check=True, capture_output=True)
