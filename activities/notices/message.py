"""Makes a mail message of a notice. The same notice always gives the same bytes.

If a mail server's answer is lost, the message may have been delivered. It is sent again; the
same bytes under the same Message-ID let the reader's mail program drop the duplicate.
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

from activities import fields
from activities.notices.failures import PermanentFailure
from activities.notices.log import Notice
from activities.sanitize import header

# Display names with these need quotes, and Python folds long quoted names wrongly.
_SPECIALS = re.compile(r"[\"(),:;<>@\[\\\]]+")

_LANGUAGE = re.compile(r'<html lang="([a-z]{2,3})"')
"""The language of a notice's words, as its page states it before any text of others."""


class _Headers(HeaderRegistry):
    """Caches the class of each kind of header, which Python makes anew for each header."""

    @cache  # noqa: B019  # one registry lives as long as the process
    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)


_POLICY = SMTP.clone(cte_type="7bit", header_factory=_Headers())
_UTF8 = _POLICY.clone(utf8=True)


@dataclass(frozen=True)
class Outgoing:
    """What a channel delivers: a stored notice to `name` from `origin`."""

    notice: Notice
    name: str
    origin: Address

    @property
    def is_new(self) -> bool:
        """Whether it was never attempted before: the log has just stored it."""
        return self.notice.updated_at is None

    def mail(self) -> EmailMessage:
        """The notice as a mail message; in ASCII, unless the address needs SMTPUTF8.

        All notices of one purchase to one reader refer to the same root, so mail programs show them
        as one thread. Raises PermanentFailure if the reader's address is invalid.
        """
        notice = self.notice
        root = f"<{_digest(notice.purchase_id, notice.role)}@{self.origin.domain}>"
        to = address(notice.address, self.name)
        message = EmailMessage(policy=_POLICY if is_ascii(to) else _UTF8)
        message["From"] = self.origin
        message["To"] = to
        message["Subject"] = header(notice.subject, 200)
        message["Date"] = notice.at
        message["Message-ID"] = notice.message_id
        message["In-Reply-To"] = root
        message["References"] = root
        message["Auto-Submitted"] = "auto-generated"
        if language := _LANGUAGE.search(notice.html):
            message["Content-Language"] = language[1]
        message["X-Recourse-Purchase"] = header(notice.purchase_id)
        message["X-Recourse-Transition"] = header(notice.transition)
        message["MIME-Version"] = "1.0"
        boundary = f"=_{_digest(notice.message_id)}"
        message["Content-Type"] = f'multipart/alternative; boundary="{boundary}"'
        message.attach(_part("plain", notice.text))
        message.attach(_part("html", notice.html))
        return message


def address(text: str, name: str = "") -> Address:
    """Parses one mail address; a domain beyond ASCII becomes its IDNA form.

    Raises PermanentFailure for an invalid address. The message does not repeat it.
    """
    try:
        username, domain = fields.mail_address(text.strip())
    except ValueError:
        raise PermanentFailure("The reader's mail address is invalid.") from None
    display = " ".join(_SPECIALS.sub(" ", header(name, 60)).split())
    return Address(display_name=display, username=username, domain=domain)


def is_ascii(parsed: Address) -> bool:
    """Whether every mail server takes the address; others need SMTPUTF8."""
    return parsed.username.isascii()


def sender(text: str) -> Address:
    """The From address in `Name <address>`, in ASCII. Raises ValueError for anything else."""
    name, plain = parseaddr(text)
    try:
        if is_ascii(parsed := address(plain, name)):
            return parsed
    except PermanentFailure:
        pass
    raise ValueError(f"Not a sender for notices: {text!r}; write Name <address>, in ASCII.")


def mail_address(text: str) -> str:
    """Returns `text`. Raises ValueError if it is not a plain mail address in ASCII."""
    try:
        if is_ascii(address(text)):
            return text
    except PermanentFailure:
        pass
    raise ValueError(f"Not a mail address: {text!r}; write NAME@HOST, in ASCII.")


def web_address(text: str) -> str:
    """Returns `text`. Raises ValueError if it is not a web address."""
    if not text.startswith(("https://", "http://")):
        raise ValueError(f"Not a web address: {text!r}; write https://HOST or leave it out.")
    return text


def message_id(purchase_id: str, transition_id: str, role: str, channel: str, domain: str) -> str:
    """The Message-ID of one notice: a digest of what identifies it."""
    return f"<{_digest(purchase_id, transition_id, role, channel)}@{domain}>"


def _part(subtype: str, text: str) -> EmailMessage:
    part = EmailMessage(policy=_POLICY)
    part.set_content(text, subtype=subtype, cte="quoted-printable")
    return part


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]
