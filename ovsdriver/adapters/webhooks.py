"""Sending events to webhooks by HTTP."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping

import aiohttp

from ovsdriver.domain.events.webhooks import CONTENT_TYPE, Webhook
from ovsdriver.errors import UnavailableError

TIMEOUT_S = 10.0

SIGNATURE = "Ovsnet-Signature-256"
"""``sha256=`` and the HMAC of the body, in hexadecimal digits."""


class HttpReceivers:
    """The port ``Receivers``; a connection for each event, for there are few."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    async def send(self, webhook: Webhook, event: Mapping[str, object]) -> None:
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": CONTENT_TYPE, SIGNATURE: signature(webhook.secret, body)}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                aiohttp.ClientSession() as session,
                session.post(
                    webhook.url, data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                status = response.status
        except TimeoutError as error:
            raise UnavailableError(f"it does not answer within {self._timeout_s:g} s") from error
        except aiohttp.ClientConnectorDNSError as error:
            raise UnavailableError(f"{webhook.host} cannot be resolved") from error
        except aiohttp.ClientSSLError as error:
            raise UnavailableError(f"its certificate is refused ({error})") from error
        except aiohttp.ClientConnectorError as error:
            raise UnavailableError(f"no connection ({error.os_error.strerror or error})") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnavailableError(f"the connection broke ({error})") from error
        if not 200 <= status < 300:
            raise UnavailableError(f"it answers {status}")


def signature(secret: str, body: bytes) -> str:
    """Return what the header says of a body."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


async def resolves(host: str) -> bool:
    """Whether a name has an address, by this host's resolver; within 5 s."""
    try:
        async with asyncio.timeout(5):
            return bool(await asyncio.get_running_loop().getaddrinfo(host, None))
    except (OSError, TimeoutError, UnicodeError):
        return False
