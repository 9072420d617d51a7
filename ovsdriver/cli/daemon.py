"""The running process, over its admin socket."""

import asyncio
import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from ovsdriver.cli.outcome import Exit, Refusal
from ovsdriver.config import Settings

READ_S = 20.0
CHANGE_S = 150.0
"""Longer than the process gives itself, so that its own sentence arrives."""


class NotRunning(Refusal):
    """Nobody listens on the admin socket."""


class Daemon:
    """Asks, waits, and turns what goes wrong into a sentence."""

    def __init__(self, settings: Settings) -> None:
        self._socket = settings.run_dir / "admin.sock"

    def status(self) -> dict[str, Any]:
        """Return the process as a whole."""
        return self._ask("GET", "/status", READ_S)

    def state(self) -> dict[str, Any]:
        """Return everything there is."""
        return self._ask("GET", "/state", READ_S)

    def in_force(self, object_id: str) -> dict[str, str | None]:
        """Return the value of every option of a network or an endpoint."""
        answer = self._ask("GET", f"/in-force/{quote(object_id, safe='')}", READ_S)
        return dict(answer["values"])

    def remove_network(self, name: str, *, force: bool) -> dict[str, Any]:
        """Remove a network by name or id."""
        path = f"/networks/{quote(name, safe='')}{'?force=true' if force else ''}"
        return self._ask("DELETE", path, CHANGE_S)

    def change(self, target: str, options: Mapping[str, str]) -> dict[str, Any]:
        """Change options of a network or a container."""
        return self._ask("POST", "/set", CHANGE_S, {"target": target, "options": options})

    def plan(self, wish: Mapping[str, object]) -> dict[str, Any]:
        """Return what a network would make."""
        return self._ask("POST", "/plan", READ_S, wish)

    def reconcile(self, *, dry_run: bool) -> dict[str, Any]:
        """Look at everything now, and mend it or not."""
        query = "?dry_run=true" if dry_run else ""
        return self._ask("POST", f"/reconcile{query}", CHANGE_S)

    def purge(self) -> dict[str, Any]:
        """Remove everything with our mark."""
        return self._ask("POST", "/purge", CHANGE_S)

    def pools(self, which: str) -> list[dict[str, Any]]:
        """Return the pools that ``which`` means, a pool or a network; all if it is empty."""
        answer = self._ask("GET", f"/ipam/pools?{urlencode({'of': which})}", READ_S)
        return list(answer["pools"])

    def leases(self, pool: str, *, after: str, limit: int) -> dict[str, Any]:
        """Return a page of a pool's leases; the first one if ``after`` is empty."""
        query = urlencode({"pool": pool, "after": after, "limit": limit})
        return self._ask("GET", f"/ipam/leases?{query}", READ_S)

    def release(self, address: str, *, pool: str, network: str, force: bool) -> dict[str, Any]:
        """Release an address."""
        query = urlencode({"pool": pool, "network": network, "force": str(force).lower()})
        return self._ask("DELETE", f"/ipam/leases/{quote(address, safe='')}?{query}", READ_S)

    def release_pool(self, pool: str, *, force: bool) -> dict[str, Any]:
        """Release a pool by its id."""
        query = urlencode({"pool": pool, "force": str(force).lower()})
        return self._ask("DELETE", f"/ipam/pools?{query}", READ_S)

    def reservations(self, *, pool: str, network: str, space: str) -> list[dict[str, Any]]:
        """Return the reserved addresses in pools, of a network and in a space; all if unsaid."""
        query = urlencode({"pool": pool, "network": network, "space": space})
        return list(self._ask("GET", f"/ipam/reservations?{query}", READ_S)["reservations"])

    def reserve(self, wish: Mapping[str, object]) -> dict[str, Any]:
        """Keep one address, the next free one if the wish names none."""
        return self._ask("POST", "/ipam/reservations", READ_S, wish)

    def apply_reservations(self, wishes: Mapping[str, object]) -> dict[str, Any]:
        """Keep every address of a list."""
        return self._ask("PUT", "/ipam/reservations", READ_S, wishes)

    def unreserve(self, address: str, *, pool: str, network: str, space: str) -> dict[str, Any]:
        """Keep an address for nobody any more."""
        query = urlencode({"pool": pool, "network": network, "space": space})
        return self._ask("DELETE", f"/ipam/reservations/{quote(address, safe='')}?{query}", READ_S)

    def _ask(
        self, method: str, path: str, timeout_s: float, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        try:
            return asyncio.run(self._request(method, path, timeout_s, body))
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error.os_error) from error
        except TimeoutError as error:
            raise Refusal(
                f"ovsnet did not answer in {timeout_s:g} s on {self._socket}; look at its log "
                "(journalctl -u ovsnet)"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError, TypeError) as error:
            raise Refusal(
                f"{self._socket} answered what cannot be read ({error}); is that ovsnet?"
            ) from error

    async def _request(
        self, method: str, path: str, timeout_s: float, content: Mapping[str, object] | None
    ) -> dict[str, Any]:
        # As a file, which is sent in pieces: a list of thousands has megabytes.
        data = None if content is None else BytesIO(json.dumps(content).encode())
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(
                "http://ovsnet", connector=aiohttp.UnixConnector(str(self._socket))
            ) as session,
            session.request(method, path, data=data) as response,
        ):
            body = await response.json(content_type=None)
            if not isinstance(body, dict):
                raise TypeError(f"{type(body).__name__} instead of an object")
            if response.status != 200:
                raise Refusal(str(body.get("error", f"status {response.status}")))
            return body

    def _unreachable(self, why: OSError) -> Refusal:
        if isinstance(why, PermissionError):
            return Refusal(f"no permission to open {self._socket}; try it as root: sudo ovsnet …")
        return NotRunning(
            f"ovsnet is not running (nobody listens on {self._socket}); start it with "
            "`systemctl start ovsnet` or `ovsnet serve`, or say where it is with --run-dir",
            Exit.NOT_RUNNING,
        )
