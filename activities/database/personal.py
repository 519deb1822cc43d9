"""Encrypts what the database has about persons with a key of each purchase's own.

The keys are in the same database: they do not protect it from its readers, they make it possible
to forget. When the key is destroyed, nobody can read what it has encrypted, also where rows are
append-only.
"""

import base64
import os
from datetime import UTC, datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.engine import Connection

from activities.database.engine import insert_if_absent
from activities.database.types import Instant

MARK = b"\x02"
"""The first byte of what is encrypted here. What was stored before there were keys has another."""

KEY_BYTES, NONCE_BYTES = 32, 12

purchase_key = sa.Table(
    "purchase_key",
    sa.MetaData(),
    sa.Column("purchase_id", sa.Text, primary_key=True),
    sa.Column("key", sa.LargeBinary),
    sa.Column("forgotten_at", Instant),
)
_FIND = sa.select(purchase_key.c.key).where(
    purchase_key.c.purchase_id == sa.bindparam("id", type_=sa.Text)
)


class Forgotten(Exception):
    """The key was destroyed: what it has encrypted cannot be read any more."""

    def __init__(self, purchase_id: str) -> None:
        super().__init__(f"The persons of purchase {purchase_id} were forgotten.")


class PersonalData:
    """Encrypts and decrypts for one purchase, in a transaction. A purchase that has no key gets
    one with the first document. Raises Forgotten."""

    def __init__(self, connection: Connection, purchase_id: str) -> None:
        self._connection, self._purchase_id = connection, purchase_id
        self._cipher: AESGCM | None = None

    def seal(self, document: bytes) -> bytes:
        """Encrypt a document."""
        nonce = os.urandom(NONCE_BYTES)
        return MARK + nonce + self._opened(create=True).encrypt(nonce, document, None)

    def unseal(self, sealed: bytes) -> bytes:
        """Decrypt a document; return one that was stored before there were keys."""
        if not sealed.startswith(MARK):
            return sealed
        nonce, text = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        return self._opened().decrypt(nonce, text, None)

    def seal_text(self, text: str) -> str:
        """Encrypt a text for a column of texts."""
        return MARK.decode() + base64.b64encode(self.seal(text.encode())[1:]).decode()

    def unseal_text(self, sealed: str) -> str:
        """Decrypt it."""
        if not sealed.startswith(MARK.decode()):
            return sealed
        return self.unseal(MARK + base64.b64decode(sealed[1:])).decode()

    def _opened(self, *, create: bool = False) -> AESGCM:
        if self._cipher is None:
            name = {"id": self._purchase_id}
            found = self._connection.execute(_FIND, name).first()
            if found is None and create:
                row = {"purchase_id": self._purchase_id, "key": os.urandom(KEY_BYTES)}
                self._connection.execute(insert_if_absent(self._connection, purchase_key), row)
                found = self._connection.execute(_FIND, name).first()
            if found is None or found.key is None:
                raise Forgotten(self._purchase_id)
            self._cipher = AESGCM(found.key)
        return self._cipher


def forget(connection: Connection, purchase_id: str) -> None:
    """Destroy the key of a purchase; it never gets another one."""
    values = {"key": None, "forgotten_at": datetime.now(UTC)}
    row = {"purchase_id": purchase_id, **values}
    if connection.execute(insert_if_absent(connection, purchase_key), row).rowcount != 1:
        connection.execute(
            sa.update(purchase_key)
            .where(purchase_key.c.purchase_id == purchase_id, purchase_key.c.key.is_not(None))
            .values(**values)
        )
