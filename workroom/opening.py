"""Opens a purchase for the person of a session, with what they may do now."""

from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import Request
from temporalio.client import Client

from temporal.access import NotYours, is_party, named, terms_for
from temporal.aftercare import current, status_of
from temporal.errors import Failure
from temporal.purchases import Purchase
from workflows.lifecycle.state import State
from workflows.messages import PurchaseStart
from workroom.readers import Readers
from workroom.sessions import Session
from workroom.show import Button, View, reader_of


@dataclass(frozen=True)
class Opening:
    """Opens the purchase that a request names. Raises NotYours, Failure."""

    client: Client
    readers: Readers

    async def terms(self, request: Request, session: Session) -> tuple[Purchase, PurchaseStart]:
        """A purchase and its terms."""
        purchase_id = unquote(request.path_params["id"])
        if not session.covers(purchase_id):
            raise NotYours
        purchase = named(self.client, purchase_id)
        terms = await terms_for(purchase, session.sender)
        if is_party(session.sender):
            self.readers.keep(session.sender, reader_of(session.sender, terms))
        return purchase, terms

    async def buttons(self, request: Request, session: Session) -> tuple[View, list[Button]]:
        """A purchase, and what the person may do now."""
        purchase, terms = await self.terms(request, session)
        role = session.sender.role
        if found := await purchase.open_view(role):
            status, allowed = found
        else:
            status = await status_of(purchase)
            allowed = await (await current(purchase)).actions(role)
        view = View(session.sender, terms, status)
        return view, view.buttons(allowed)

    async def state(self, purchase_id: str) -> State | None:
        """A purchase as its own rules see it; None if this release cannot read what its worker
        answers, or knows no such rules."""
        try:
            found = await named(self.client, purchase_id).readable_state()
        except Failure:
            return None
        return found.purchase if found else None
