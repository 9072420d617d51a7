"""Who comes in: this host's browsers with the right link, and no page of anybody else's."""

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from ovsdriver import codec
from ovsdriver.admin.asks import Refused

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SESSION = "/session"
"""Where a token is traded for a cookie."""
WRITE = "X-Ovsnet-Write"
"""A header that no form and no link can have: the page sends it with what changes something."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""With every answer. Nothing is loaded from elsewhere, and nothing that stands in the page runs."""

_OPEN = ("/static/",)
"""Without a cookie: the program itself, which tells nothing of this host."""
_LOOPBACK = ("localhost",)


class Door:
    """Lets requests in, or answers them with a sentence.

    A token is good once: whoever reads it later, in a shell's history or over a shoulder, has
    nothing of it.
    """

    def __init__(self, *, write: bool, host: str = "") -> None:
        """Build it.

        Args:
            write: something may be changed.
            host: by which name a reverse proxy is reached that lets in whom it knows; empty: there
                is none, and who has the token comes in.
        """
        self.token = secrets.token_urlsafe(24)
        self._traded = False
        self._cookie = secrets.token_urlsafe(32)
        self._write = write
        self._host = host

    def middleware(self) -> Middleware:
        """Return what all requests pass."""

        @web.middleware
        async def pass_door(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = self._refused(request)
            return await handler(request) if refused is None else refused

        return pass_door

    async def trade(self, request: web.Request) -> web.Response:
        """Answer a token with a cookie."""
        try:
            said = await request.json()
        except ValueError:
            said = None
        token = said.get("token") if isinstance(said, dict) else None
        if not isinstance(token, str) or not hmac.compare_digest(
            token.encode(), self.token.encode()
        ):
            return refusal(
                401, "this is not the link of this page; type `ovsnet web` for a new one"
            )
        if self._traded:
            return refusal(
                401, "this link was used already, and is good once; type `ovsnet web` for a new one"
            )
        self._traded = True
        answer = web.Response(status=204)
        answer.set_cookie(_name(request), self._cookie, httponly=True, samesite="Strict", path="/")
        return answer

    def _refused(self, request: web.Request) -> web.Response | None:
        host = _split(f"http://{request.headers.get('Host', '')}")
        if not self._is_ours(host):
            return refusal(
                403,
                f"{request.headers.get('Host', '')!r} is not this page's host; open the link as it "
                "was printed",
            )
        origin = request.headers.get("Origin")
        if origin is not None and not self._same(_split(origin), host):
            return refusal(403, f"a page of {origin!r} may not ask this one")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return refusal(403, "another page may not ask this one; open it by its own link")
        if request.method not in ("GET", "HEAD"):
            refused = self._unwritten(request)
            if refused is not None:
                return refused
        open_ = request.path == SESSION or request.path.startswith(_OPEN)
        if open_ or self._host or self._knows(request) or not request.path.startswith("/api/"):
            return None
        return refusal(401, "open the page by the link that `ovsnet web` printed")

    def _unwritten(self, request: web.Request) -> web.Response | None:
        if request.path == SESSION and request.method == "POST" and not self._host:
            return None
        if not self._write or request.method != "POST":
            refused = refusal(
                405, "this page only looks; start it with `ovsnet web --write` to change something"
            )
            refused.headers["Allow"] = "GET"
            return refused
        if WRITE not in request.headers:
            return refusal(403, f"a change needs the header {WRITE}, which the page itself sends")
        return None

    def _is_ours(self, url: URL | None) -> bool:
        if url is None:
            return False
        name = url.host or ""
        return name == self._host if self._host else _is_loopback(name)

    def _same(self, origin: URL | None, host: URL | None) -> bool:
        if origin is None or host is None:
            return False
        # A proxy may add TLS, and a port of its own that the header Host does not have.
        return origin.host == host.host if self._host else origin == host

    def _knows(self, request: web.Request) -> bool:
        cookie = request.cookies.get(_name(request), "")
        return hmac.compare_digest(cookie.encode(), self._cookie.encode())


def refusal(status: int, sentence: str) -> web.Response:
    """Return an answer that says what is wrong."""
    return web.json_response(text=codec.encode(Refused(error=sentence)), status=status)


def _name(request: web.Request) -> str:
    """Return the cookie's name: browsers do not keep those of two ports apart."""
    place = request.transport.get_extra_info("sockname") if request.transport else None
    return f"ovsnet-{place[1]}" if isinstance(place, tuple) else "ovsnet"


def _split(text: str) -> URL | None:
    try:
        url = URL(text)
    except ValueError:
        return None
    return url.origin() if url.host and url.scheme else None


def _is_loopback(name: str) -> bool:
    if name in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
