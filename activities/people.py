"""The private index by which staff find a person's purchases, with mail address or name.

It has fingerprints, no text: with encryption keys nobody can guess a name against them who lacks
the keys. Temporal and its search attributes have no part in it.
"""

import json
import unicodedata

from activities.sealing import Seal


def fingerprints_of(document: str, seal: Seal) -> frozenset[str]:
    """What to index of a start input: of both parties the address, the name and each word of it,
    as they are written and without accents."""
    start = json.loads(document)
    texts: set[str] = set()
    for role in ("client", "freelancer"):
        party = start.get(role, {})
        name = _plain(party.get("name", ""))
        texts |= {_plain(party.get("email", "")), name, *name.split()}
    texts |= {_without_accents(text) for text in texts}
    return frozenset(seal.fingerprints(text)[0] for text in texts if text)


def fingerprints_for(person: str, seal: Seal) -> tuple[str, ...]:
    """What to look for, under each key: a mail address, a name or a word of one."""
    return seal.fingerprints(_plain(person))


def _plain(text: str) -> str:
    """The text without differences of case, accents' encoding and spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
