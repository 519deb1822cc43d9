"""The formats of dates in lists: those of the person's newest purchase."""

from collections import OrderedDict
from collections.abc import Sequence

from temporalio.client import Client

from activities.notices.formats import Reader, reader
from temporal.access import is_party
from temporal.errors import Failure
from temporal.listing import Listed
from temporal.purchases import Purchase
from workflows.messages import Sender
from workroom.show import reader_of

KEPT = 10_000
"""People whose formats are kept, so that a list reads the terms of no purchase."""


class Readers:
    """The formats of people, in this process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: OrderedDict[Sender, Reader] = OrderedDict()

    async def of(self, sender: Sender, found: Sequence[Listed]) -> Reader:
        """The formats of a person with these purchases; staff read en_US and UTC. The first time,
        the terms of one purchase are read."""
        if not is_party(sender) or not found:
            return reader(None)
        if sender not in self._known:
            try:
                terms = await Purchase(self._client, found[0].purchase_id).terms()
            except Failure:
                return reader(None)
            self._known[sender] = reader_of(sender, terms)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return self._known[sender]
