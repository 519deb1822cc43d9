"""How the states in the ledger's database are sealed: encrypted, if the payloads at the Temporal
server are."""

import hashlib
from typing import Protocol

READABLE, ENCRYPTED = b"\x00", b"\x01"
"""The first byte says how the rest was sealed."""


class Unreadable(Exception):
    """A document was sealed with a key that is missing. The message says what to set."""


class Seal(Protocol):
    """Seals documents for the database."""

    def seal(self, document: str) -> bytes:
        """Seal a document."""

    def unseal(self, sealed: bytes) -> str:
        """Return the document. Raises Unreadable."""

    def fingerprints(self, text: str) -> tuple[str, ...]:
        """Return 64 digits for a text under each key, the current one first."""


class Unencrypted:
    """For deployments without encryption keys."""

    def seal(self, document: str) -> bytes:
        return READABLE + document.encode()

    def unseal(self, sealed: bytes) -> str:
        if not sealed.startswith(READABLE):
            raise Unreadable("The saved state is encrypted: set RECOURSE_ENCRYPTION_KEYS.")
        return sealed[1:].decode()

    def fingerprints(self, text: str) -> tuple[str, ...]:
        return (hashlib.sha256(text.encode()).hexdigest(),)


UNENCRYPTED = Unencrypted()
