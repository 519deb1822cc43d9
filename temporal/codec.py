"""Encrypts payloads with AES-256-GCM, so that the server stores nothing readable.

`RECOURSE_ENCRYPTION_KEYS` has the keys as `id:key`, separated by commas; each key is 32 bytes in
base64. The first key encrypts, all keys decrypt. To rotate without downtime: add the new key after
the old one in every process; then move it to the front in every process; remove the old key when
the last purchase encrypted with it is past its retention.

Payloads in other encodings pass unchanged: other systems may send messages unencrypted. Payloads
that cannot be decrypted pass too, because an invalid message must not stop a purchase; the code
that reads them names the missing key.
"""

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    NexusSerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)

from activities.sealing import ENCRYPTED, READABLE, Unreadable
from workflows.receiving.encrypted import ENCODING, SETTING, is_encrypted

CIPHER = b"AES-256-GCM"
KEY_BYTES, NONCE_BYTES = 32, 12
NEXUS_SETTING = "RECOURSE_NEXUS_KEYS"
"""Keys that callers in other namespaces share, so that they need none of the purchases' keys."""
INDEX = b"recourse: index of people"
"""Derives a second key from each key, which is used for fingerprints only."""


class WrongKeys(ValueError):
    """The setting is invalid. The text never contains a key."""


class Encryption(PayloadCodec, WithSerializationContext):
    """Encrypts each payload with its metadata, and authenticates the id of its key."""

    def __init__(self, keys: Mapping[str, bytes], nexus: "Encryption | None" = None) -> None:
        """`keys` by their ids, the one that encrypts first. `nexus`: for calls of other namespaces
        and their answers; None: the same keys."""
        self._nexus = nexus
        self._ciphers = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._current = next(iter(self._ciphers))
        self._index_keys = [_digest(key, INDEX).digest() for key in keys.values()]

    def with_context(self, context: SerializationContext) -> Self:
        """Return what encrypts payloads of this context."""
        if isinstance(context, NexusSerializationContext) and isinstance(self._nexus, type(self)):
            return self._nexus
        return self

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each with the first key."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload that one of the keys fits; return all others unchanged."""
        return [self._decrypt(payload) for payload in payloads]

    def seal(self, document: str) -> bytes:
        """Encrypt a document for the ledger's database."""
        return ENCRYPTED + self._encrypt(Payload(data=document.encode())).SerializeToString()

    def unseal(self, sealed: bytes) -> str:
        """Decrypt it; return one that was stored before there were keys. Raises Unreadable."""
        if sealed.startswith(READABLE):
            return sealed[1:].decode()
        payload = Payload.FromString(sealed[1:])
        opened = self._decrypt(payload)
        if opened is payload:
            raise Unreadable(f"The saved state was encrypted with a key that {SETTING} lacks.")
        return opened.data.decode()

    def fingerprints(self, text: str) -> tuple[str, ...]:
        """Return the fingerprint of a text under each key, as the index of people has it."""
        return tuple(_digest(key, text.encode()).hexdigest() for key in self._index_keys)

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._ciphers[self._current]
        sealed = cipher.encrypt(nonce, payload.SerializeToString(), self._current)
        metadata = {
            "encoding": ENCODING,
            "encryption-cipher": CIPHER,
            "encryption-key-id": self._current,
        }
        return Payload(metadata=metadata, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        cipher = self._ciphers.get(payload.metadata.get("encryption-key-id", b""))
        if not is_encrypted(payload) or cipher is None:
            return payload
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            opened = cipher.decrypt(nonce, sealed, payload.metadata["encryption-key-id"])
        except (InvalidTag, ValueError):  # corrupted, or not encrypted by us
            return payload
        return Payload.FromString(opened)


def _digest(key: bytes, data: bytes) -> hmac.HMAC:
    return hmac.new(key, data, "sha256")


def read_keys(setting: str, source: str = SETTING) -> dict[str, bytes]:
    """The keys of the setting, by their ids. Raises WrongKeys."""
    keys: dict[str, bytes] = {}
    for number, item in enumerate(filter(None, map(str.strip, setting.split(","))), start=1):
        name, colon, encoded = item.partition(":")
        if not (colon and name and name.isascii() and len(name) <= 64):
            raise WrongKeys(f"{source}: entry {number} has to be `id:key`, its id in ASCII.")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise WrongKeys(f"{source}: the key {name!r} is not base64.") from None
        if len(key) != KEY_BYTES:
            raise WrongKeys(f"{source}: the key {name!r} has {len(key)} bytes, not {KEY_BYTES}.")
        if name in keys:
            raise WrongKeys(f"{source}: two keys are called {name!r}.")
        keys[name] = key
    if not keys:
        raise WrongKeys(f"{source} has no key in it.")
    return keys
