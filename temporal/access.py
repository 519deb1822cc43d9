"""Which purchases a sender may see (parties those that name them, staff all), and sending."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.client import Client

from activities.fields import identifier
from temporal import ended
from temporal.aftercare import current, status_of
from temporal.errors import Rejected, Unreachable
from temporal.purchases import Purchase
from workflows.messages import Message, Permission, PurchaseStart, Receipt, Role, Sender, Status

PARTIES = (Role.CLIENT, Role.FREELANCER)
MAY_START = (Role.CLIENT, Role.OPERATOR)
"""Who may start a purchase: its client, and staff in a client's name."""

STAFF = (Role.MEDIATOR, Role.OPERATOR)


class NotYours(Exception):
    """The sender is a party, and this is no purchase of theirs; it may not exist."""


def is_party(sender: Sender) -> bool:
    """Whether the sender is a client or a freelancer, not staff."""
    return sender.role in PARTIES


def may_search(sender: Sender) -> bool:
    """Whether the sender may find purchases by the name or the mail address of a party."""
    return sender.role in STAFF


def party_id(terms: PurchaseStart, role: Role) -> str | None:
    """The id of the purchase's client or freelancer."""
    return {Role.CLIENT: terms.client.id, Role.FREELANCER: terms.freelancer.id}.get(role)


async def opened(client: Client, purchase_id: str, sender: Sender) -> Purchase:
    """The purchase, for a sender who may see it.

    Raises NotYours for a party of another purchase, alike if there is none, so that nobody learns
    which ids are used. Raises Rejected `NOT_FOUND` for what is no id; staff get it later, from the
    purchase.
    """
    purchase = named(client, purchase_id)
    if is_party(sender):
        await terms_for(purchase, sender)
    return purchase


def named(client: Client, purchase_id: str) -> Purchase:
    """The purchase of an id, unchecked. Raises Rejected `NOT_FOUND` for what is no id."""
    try:
        return Purchase(client, identifier(purchase_id))
    except ValueError as error:
        raise Rejected("NOT_FOUND", f"This is no id of a purchase: it {error}.") from None


async def send(purchase: Purchase, message: Message) -> Receipt:
    """Send a message that has a `message_id`, once more if no worker answers: it counts once. The
    aftercare case of a closed purchase gets it.

    When a query and an update of one purchase meet, sdk-core may lose the workflow task between
    them, because `temporal.runner` evicts a run that may be ahead; the server repeats the task
    after 10 s. Without that eviction, `Purchase.send` is enough.
    """
    purchase = await current(purchase)
    with _for(message.by):
        try:
            return await purchase.send(message)
        except Unreachable as error:
            if error.code != "NO_WORKER":
                raise
        return await purchase.send(message)


async def status_for(purchase: Purchase, sender: Sender) -> Status:
    """The status, for a sender who may see the purchase: the page on which the client confirms the
    payment is not the freelancer's to see, and commands for staff are not a party's."""
    with _for(sender):
        found = await status_of(purchase)
    if sender.role is Role.FREELANCER:
        found = found.model_copy(update={"confirm_url": None})
    return ended.without_commands(found) if is_party(sender) else found


async def actions_for(purchase: Purchase, sender: Sender) -> list[Permission]:
    """What the sender's role may do now, for a sender who may see the purchase."""
    with _for(sender):
        found = await (await current(purchase)).actions(sender.role)
    if not is_party(sender):
        return found
    return [
        ended.refused(each, ended.FOR_PARTIES) if each.code == ended.CODE else each
        for each in found
    ]


@contextmanager
def _for(sender: Sender) -> Iterator[None]:
    """A party does not read what only staff can do about a purchase that is ended or paused, or
    that no worker answers for."""
    try:
        yield
    except Unreachable as failure:
        if is_party(sender) and failure.code == "NO_WORKER":
            raise Unreachable(failure.code, ended.UNANSWERED) from None
        raise
    except Rejected as rejected:
        if is_party(sender) and rejected.code in (ended.CODE, "PAUSED"):
            raise Rejected(rejected.code, ended.FOR_PARTIES) from None
        raise


async def terms_for(purchase: Purchase, sender: Sender) -> PurchaseStart:
    """The purchase's terms, for a sender who may see them. Raises NotYours, Rejected."""
    try:
        terms = await purchase.terms()
    except Rejected:  # unknown, or it never began
        if is_party(sender):
            raise NotYours from None
        raise
    if is_party(sender) and party_id(terms, sender.role) != sender.id:
        raise NotYours
    return terms
