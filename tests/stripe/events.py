"""Webhook deliveries, signed as Stripe documents, without its SDK."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

from tests.stripe.forms import Object

PATIENCE = 10.0
"""Seconds in which a receiver must answer."""


@dataclass(frozen=True)
class Delivery:
    """One delivery of an event: the body and its signature."""

    body: bytes
    signature: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request."""
        return {"Content-Type": "application/json", "Stripe-Signature": self.signature}

    def post(self, url: str) -> int:
        """Post the delivery; return the status."""
        where = urlsplit(url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
        try:
            connection.request("POST", where.path or "/", self.body, self.headers)
            return connection.getresponse().status
        finally:
            connection.close()


def signed(event: Object, secret: str, at: int) -> Delivery:
    """Return the delivery of the event, signed at that second."""
    body = json.dumps(event, indent=2, ensure_ascii=False).encode()
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return Delivery(body, f"t={at},v1={digest}")
