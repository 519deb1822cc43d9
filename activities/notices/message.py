"""A notice as a mail message: the same notice gives the same bytes, however often it is built.

A lost answer of a mail server cannot be told from a lost message. Equal bytes under an equal
Message-ID let the reader's side collapse the duplicate that a retry may make.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from functools import cache
from typing import Any

from activities.notices.failures import PermanentFailure
from activities.notices.log import Notice
from activities.sanitize import header

# The HTML standard's "valid e-mail address", less what could pass for an encoded word.
_ADDRESS = re.compile(
    r"(?!.*=\?)([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64})"
    r"@([A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*)"
)
# These need quotes in a display name, and Python's folding of long quoted names is fragile.
_SPECIALS = re.compile(r"[\"(),:;<>@\[\\\]]+")


class _Headers(HeaderRegistry):
    """Python makes the class of a header anew for each header; this once for each kind."""

    @cache  # noqa: B019  # there is one registry, for ever
    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)


_POLICY = SMTP.clone(cte_type="7bit", header_factory=_Headers())


@dataclass(frozen=True)
class Outgoing:
    """What a channel is given: a logged notice to `name`, as data or as a mail message."""

    notice: Notice
    name: str
    origin: Address

    def mail(self) -> EmailMessage:
        """Raises PermanentFailure when the reader's mail address is none."""
        return compose(self.notice, self.name, self.origin)


def address(text: str, name: str = "") -> Address:
    """One mail address; a domain beyond ASCII becomes its IDNA form.

    Raises PermanentFailure, without repeating the address, when it is none.
    """
    local, _, domain = text.strip().rpartition("@")
    try:
        match = _ADDRESS.fullmatch(f"{local}@{domain.encode('idna').decode()}")
    except UnicodeError:
        match = None
    if match is None:
        raise PermanentFailure("The reader's mail address is not a valid one.")
    display = " ".join(_SPECIALS.sub(" ", header(name, 60)).split())
    return Address(display_name=display, username=match[1], domain=match[2])


def sender(text: str) -> Address:
    """The From address out of `Name <address>`. Raises ValueError when it is none."""
    name, plain = parseaddr(text)
    try:
        return address(plain, name)
    except PermanentFailure:
        raise ValueError(f"Not a sender for notices: {text!r}; write Name <address>.") from None


def mail_address(text: str) -> str:
    """A plain mail address, as it is. Raises ValueError when it is none."""
    try:
        address(text)
    except PermanentFailure:
        raise ValueError(f"Not a mail address: {text!r}; write NAME@HOST.") from None
    return text


def web_address(text: str) -> str:
    """Where links lead, as it is. Raises ValueError when it is no web address."""
    if not text.startswith(("https://", "http://")):
        raise ValueError(f"Not a web address: {text!r}; write https://HOST or leave it out.")
    return text


def message_id(purchase_id: str, transition_id: str, role: str, channel: str, domain: str) -> str:
    """The Message-ID of one notice, made from what it is about and nothing else."""
    return f"<{_digest(purchase_id, transition_id, role, channel)}@{domain}>"


def compose(notice: Notice, name: str, origin: Address) -> EmailMessage:
    """The message of a logged notice, to `name`, from `origin`; ASCII on the wire.

    All notices of one purchase to one reader refer to the same root, so that mail programs show
    them as one thread. Raises PermanentFailure when the reader's address is none.
    """
    root = f"<{_digest(notice.purchase_id, notice.role)}@{origin.domain}>"
    message = EmailMessage(policy=_POLICY)
    message["From"] = origin
    message["To"] = address(notice.address, name)
    message["Subject"] = header(notice.subject, 200)
    message["Date"] = notice.at
    message["Message-ID"] = notice.message_id
    message["In-Reply-To"] = root
    message["References"] = root
    message["Auto-Submitted"] = "auto-generated"
    message["X-Recourse-Purchase"] = header(notice.purchase_id)
    message["X-Recourse-Transition"] = header(notice.transition)
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = f'multipart/alternative; boundary="=_{_digest(notice.message_id)}"'
    message.attach(_part("plain", notice.text))
    message.attach(_part("html", notice.html))
    return message


def _part(subtype: str, text: str) -> EmailMessage:
    part = EmailMessage(policy=_POLICY)
    part.set_content(text, subtype=subtype, cte="quoted-printable")
    return part


def _digest(*services: str) -> str:
    return hashlib.sha256(json.dumps(services).encode()).hexdigest()[:40]
