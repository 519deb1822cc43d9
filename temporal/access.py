"""Which purchases a sender may see (parties those that name them, staff all), and sending."""

from temporalio.client import Client

from activities.fields import identifier
from temporal.aftercare import current, status_of
from temporal.errors import Rejected, Unreachable
from temporal.purchases import Purchase
from workflows.messages import Message, PurchaseStart, Receipt, Role, Sender, Status

PARTIES = (Role.CLIENT, Role.FREELANCER)
MAY_START = (Role.CLIENT, Role.OPERATOR)
"""Who may start a purchase: its client, and staff in a client's name."""


class NotYours(Exception):
    """The sender is a party, and this is no purchase of theirs; it may not exist."""


def is_party(sender: Sender) -> bool:
    """Whether the sender is a client or a freelancer, not staff."""
    return sender.role in PARTIES


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
    try:
        return await purchase.send(message)
    except Unreachable as error:
        if error.code != "NO_WORKER":
            raise
    return await purchase.send(message)


async def status_for(purchase: Purchase, sender: Sender) -> Status:
    """The status, for a sender who may see the purchase: the page on which the client confirms the
    payment is not the freelancer's to see."""
    found = await status_of(purchase)
    if sender.role is Role.FREELANCER:
        return found.model_copy(update={"confirm_url": None})
    return found


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
