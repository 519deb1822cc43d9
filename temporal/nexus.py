"""The Nexus service `Purchases`, for workflows in other namespaces: its operations and their types.

purchases = workflow.create_nexus_client(service=Purchases, endpoint="recourse")
await purchases.execute_operation(Purchases.start, terms)

`temporal.nexus_handler` serves it; docs/integration.md shows it. Other languages send the same
JSON.
"""

import nexusrpc
from pydantic import JsonValue
from temporalio.exceptions import ApplicationError

from activities.fields import Identifier
from activities.requests import Model
from workflows.messages import Message, Permission, PurchaseStart, Receipt, Sender, Started, Status

SERVICE = "Purchases"


class Send(Model):
    """One message to one purchase. `message`: its fields and `by`, as in docs/messages.md."""

    purchase_id: Identifier
    name: str
    message: dict[str, JsonValue]

    @classmethod
    def to(cls, purchase_id: str, message: Message) -> "Send":
        """The same from a typed message."""
        document = message.model_dump(mode="json", exclude_none=True)
        return cls(purchase_id=purchase_id, name=message.name, message=document)


class Ask(Model):
    """A question about one purchase, asked for `by`: a party gets answers about its own only."""

    purchase_id: Identifier
    by: Sender


@nexusrpc.service(name=SERVICE)
class Purchases:
    """Every operation answers within one request, and may be repeated.

    A rejection fails the operation: `rejection_of` returns its code and sentence. What may pass,
    such as a worker that does not answer, is retried by the server until the operation's timeout.
    """

    start: nexusrpc.Operation[PurchaseStart, Started]
    """Start a purchase; once, ever, under its id."""
    send: nexusrpc.Operation[Send, Receipt]
    """Send a message. Without a `message_id` it has one made of the Nexus request's id."""
    status: nexusrpc.Operation[Ask, Status]
    """Everything about a purchase."""
    actions: nexusrpc.Operation[Ask, list[Permission]]
    """Which messages the role of `by` may send now."""


def rejection_of(error: BaseException) -> ApplicationError | None:
    """The rejection in a NexusOperationError: its `type` is the code, its `message` the sentence.
    None if the operation failed for another reason, such as its timeout."""
    found, cause = None, error.__cause__
    while cause is not None:
        if isinstance(cause, ApplicationError):
            found = cause
        cause = cause.__cause__
    return found
