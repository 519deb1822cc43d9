"""Seals what a browser keeps for the workroom: nobody can read it or change it.

A page that is shown again by its address, after a restart or by another process, finds in it what
was typed. What people write appears in no log of addresses.
"""

import base64
import hmac
import json
import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from activities.links import LinkKeys, NotSigned

LONGEST = 6_000
"""Characters. Most proxies accept addresses of 8,192 bytes; four thousand letters of a text fit,
compressed."""

Purpose = Literal["draft", "sent"]


@dataclass(frozen=True)
class Seals:
    """Seals with the newest of the workroom's keys, opens with each of them."""

    keys: LinkKeys

    def seal(self, purpose: Purpose, content: object) -> str | None:
        """The content, which JSON can write, in the characters of a URL; None if that is too
        long."""
        packed = zlib.compress(json.dumps(content, ensure_ascii=False).encode(), 9)
        sealed = self._fernet(purpose).encrypt(packed).decode().rstrip("=")
        return sealed if len(sealed) <= LONGEST else None

    def open(self, purpose: Purpose, sealed: str, lives: timedelta) -> Any:
        """The content of what `seal` returned for this purpose, not longer ago than `lives`. Raises
        NotSigned."""
        if len(sealed) > LONGEST or not sealed.isascii():
            raise NotSigned("too long, or no seal")
        padded = sealed + "=" * (-len(sealed) % 4)
        try:
            packed = self._fernet(purpose).decrypt(padded.encode(), int(lives.total_seconds()))
        except InvalidToken:
            raise NotSigned("no seal of ours, or too old") from None
        return json.loads(zlib.decompress(packed))

    def _fernet(self, purpose: Purpose) -> MultiFernet:
        """Keys for this purpose only."""
        label = f"recourse/{purpose}".encode()
        own = (hmac.digest(key, label, "sha256") for key in self.keys.keys.values())
        return MultiFernet([Fernet(base64.urlsafe_b64encode(each)) for each in own])
