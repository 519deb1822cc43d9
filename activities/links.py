"""Signs what the workroom gives out and later accepts again: links in notices, sessions, forms.

Each is a JWT (HS256) that names its key and its purpose. Every purpose has its own audience, so
that a link is never accepted as a session. A key that is removed from the setting revokes all that
it has signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import jwt

LINK_KEYS = "RECOURSE_LINK_KEYS"
SHORTEST_KEY = 32
"""Bytes: as many as the digest of HS256 has (RFC 7518, 3.2)."""
ALGORITHM = "HS256"
LONGEST = 8_192
"""Characters of what is accepted."""

Purpose = Literal["link", "session", "form", "sign-in"]


class NotSigned(Exception):
    """Nothing of ours, for another purpose, or signed with a key that was removed."""


class Expired(NotSigned):
    """Ours, but its time is over."""


@dataclass(frozen=True)
class LinkKeys:
    """The keys by id, the newest first: it signs, and each of them verifies."""

    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, setting: str) -> "LinkKeys":
        """Read `id:key`,…, each key of 32 bytes or more. Raises ValueError with a sentence."""
        keys: dict[str, bytes] = {}
        for number, item in enumerate(filter(None, map(str.strip, setting.split(","))), start=1):
            name, _, key = item.partition(":")
            if not name or name in keys or len(key.encode()) < SHORTEST_KEY:
                raise ValueError(
                    f"{LINK_KEYS}: entry {number} must be `id:key`, with an id of its own and a "
                    f"key of {SHORTEST_KEY} bytes or more."
                )
            keys[name] = key.encode()
        if not keys:
            raise ValueError(f"{LINK_KEYS} has no key in it.")
        return cls(keys)

    def sign(self, purpose: Purpose, claims: Mapping[str, Any], until: datetime) -> str:
        """The claims, signed with the newest key; valid before `until`. The same claims always
        give the same text."""
        name, key = next(iter(self.keys.items()))
        body = {**claims, "aud": f"recourse/{purpose}", "exp": int(until.timestamp())}
        return jwt.encode(body, key, ALGORITHM, headers={"kid": name})

    def verify(self, purpose: Purpose, text: str) -> dict[str, Any]:
        """The claims of what `sign` returned for this purpose. Raises NotSigned, Expired."""
        try:
            if len(text) > LONGEST:
                raise ValueError("too long")
            key = self.keys[jwt.get_unverified_header(text)["kid"]]
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=[ALGORITHM],
                audience=f"recourse/{purpose}",
                options={"require": ["exp", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise Expired("its time is over") from None
        except (jwt.PyJWTError, LookupError, ValueError, TypeError, RecursionError) as error:
            raise NotSigned(type(error).__name__) from None
        return claims


def from_now(lives: timedelta) -> datetime:
    """The instant when something that begins now ends."""
    return datetime.now(UTC) + lives


LINK_LIVES = timedelta(days=30)
"""How long a link of a notice opens the workroom: as long as the longest window but one."""


def form_of(message: str, fields: Mapping[str, Any]) -> str:
    """The workroom's form for a message: each choice of a message has a form of its own."""
    return f"{fields['decision']}_refund" if message == "decide_refund" else message


@dataclass(frozen=True)
class Person:
    """A person to whom a link belongs: a party or a member of staff."""

    role: str
    id: str


def link(
    keys: LinkKeys,
    base_url: str,
    person: Person,
    until: datetime,
    purchase_id: str | None = None,
    form: str = "",
    *,
    everywhere: bool = False,
) -> str:
    """A link that signs `person` in and leads to a form of the workroom, to a purchase, or, without
    `purchase_id`, to all of their purchases. Opening it changes nothing. Its session covers that
    purchase; with `everywhere` all of theirs."""
    claims: dict[str, Any] = {
        "role": person.role,
        "sub": person.id,
        "purchase": purchase_id,
        "form": form,
    }
    if everywhere:
        claims["everywhere"] = True
    return f"{base_url.rstrip('/')}/open/{keys.sign('link', claims, until)}"
