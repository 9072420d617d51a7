"""What browsers load besides our own files: fetched from a registry, and compared with its pin."""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ovsdriver.web import bundle
from ovsdriver.web.bundle import BundleError


class Registry:
    """A registry of npm with one package."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, text in {"dist/a.js": b"export default 7", "LICENSE": b"MIT"}.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text))
        self.package = packed.getvalue()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(registry.package)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.environ = {"npm_config_registry": f"http://127.0.0.1:{self.server.server_port}/npm"}


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    thread = Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def pins(registry: Registry, tmp_path: Path) -> Path:
    """The two files that pin that package."""
    digest = base64.b64encode(hashlib.sha512(registry.package).digest()).decode()
    pinned = {"resolved": "https://registry.npmjs.org/a/-/a-1.tgz", "integrity": f"sha512-{digest}"}
    lock = {"packages": {"": {}, "node_modules/a": pinned}}
    chosen = {"bundle": {"a": {"dist/a.js": "a.js", "LICENSE": "a.LICENSE"}}}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    (tmp_path / "package.json").write_text(json.dumps(chosen))
    return tmp_path


def test_chosen_files_are_there_with_their_licence(registry: Registry, pins: Path, tmp_path: Path):
    into = tmp_path / "libraries"
    bundle.bundle(registry.environ, into, pins)
    assert (into / "a.js").read_text() == "export default 7"
    assert (into / "a.LICENSE").read_text() == "MIT"
    assert registry.asked == ["/npm/a/-/a-1.tgz"]


def test_what_is_there_is_not_fetched_again(registry: Registry, pins: Path, tmp_path: Path):
    into = tmp_path / "libraries"
    bundle.bundle(registry.environ, into, pins)
    bundle.bundle({"npm_config_registry": "http://127.0.0.1:9/"}, into, pins)
    assert len(registry.asked) == 1


def test_a_file_that_is_missing_is_fetched_again(registry: Registry, pins: Path, tmp_path: Path):
    into = tmp_path / "libraries"
    bundle.bundle(registry.environ, into, pins)
    (into / "a.js").unlink()
    bundle.bundle(registry.environ, into, pins)
    assert (into / "a.js").is_file()


def test_another_package_than_the_pinned_one_is_refused(
    registry: Registry, pins: Path, tmp_path: Path
):
    registry.package += b"x"
    with pytest.raises(BundleError, match="is not what"):
        bundle.bundle(registry.environ, tmp_path / "libraries", pins)
    assert not (tmp_path / "libraries").exists()


def test_without_a_registry_there_is_a_sentence(pins: Path, tmp_path: Path):
    with pytest.raises(BundleError, match="cannot be fetched"):
        bundle.bundle({"npm_config_registry": "http://127.0.0.1:9/"}, tmp_path / "x", pins)
    with pytest.raises(BundleError, match="not the address of a registry"):
        bundle.bundle({"npm_config_registry": "file:///etc/"}, tmp_path / "x", pins)


def test_what_is_pinned_has_a_hash_that_cannot_be_forged_and_a_public_address():
    lock = json.loads((bundle.HERE / "package-lock.json").read_text())
    chosen = json.loads((bundle.HERE / "package.json").read_text())
    packages = {name.removeprefix("node_modules/"): each for name, each in lock["packages"].items()}
    for name, version in chosen["dependencies"].items():
        assert packages[name]["version"] == version
        assert packages[name]["integrity"].startswith("sha512-")
        assert packages[name]["resolved"].startswith("https://registry.npmjs.org/")
        assert any("LICENSE" in each for each in chosen["bundle"][name])
