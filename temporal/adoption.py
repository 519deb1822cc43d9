"""Continues purchases whose workflow was ended from outside, with money inside.

The whole state of the ended run, which a query returns, is saved in the ledger's database. A new
run begins with it: with the same stage, deadlines, answered messages and pending effects. It is
taken from there by an activity and not given to the new run as its input, so that nobody who may
write to the namespace can invent a state.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from shlex import quote

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.amounts import format_amount
from activities.database import DatabaseUnreachable
from activities.ledger import Ledger, SavedState
from activities.requests import Model, Money
from activities.sealing import Seal, Unreadable
from temporal.ended import start_again
from temporal.errors import Failure, Rejected, Unreachable
from temporal.executions import Execution
from temporal.purchases import ANSWER_WITHIN, Purchase
from temporal.runs import WORKFLOW_TYPE
from workflows.acceptance import ADOPTED_BY, ADOPTED_RUN
from workflows.lifecycle.state import Payment
from workflows.messages import PurchaseStart
from workflows.receiving.encrypted import Undecipherable
from workflows.workflow_state import AcceptedStart, WorkflowState

log = structlog.get_logger()

REUSE = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
"""Of two that adopt at once, the server starts one; a closed purchase is never started again."""

POLL_INTERVAL = timedelta(milliseconds=100)


class Adopted(Model):
    """An adopted purchase."""

    purchase_id: str
    run_id: str
    what: str


class EndedPurchases:
    """Saves the states of purchases that were ended from outside."""

    def __init__(self, client: Client, ledger: Ledger, seal: Seal) -> None:
        self._client = client
        self._ledger = ledger
        self._seal = seal

    async def save(self, purchase_id: str) -> None:
        """Save the state of a purchase that was ended with money inside: Temporal deletes its
        history after the retention period. The next audit retries a failed save."""
        try:
            found = await Purchase(self._client, purchase_id).last_runs()
            if found is None or not found[1].is_ended:
                return
            newest, ended = found
            if await asyncio.to_thread(self._ledger.find_state, purchase_id, newest.run_id):
                return  # by an earlier audit: the state of an ended run does not change
            state = await Purchase(self._client, purchase_id, ended.run_id).saved_state()
            if state is not None and _may_have_money(state):
                await asyncio.to_thread(self.keep, newest, state)
        except (Failure, RPCError, DatabaseUnreachable, Undecipherable, ValueError) as error:
            log.warning("state_not_saved", purchase_id=purchase_id, why=str(error))

    def keep(self, ended: Execution, state: WorkflowState) -> None:
        """Write the state of an ended run to the ledger's database, sealed."""
        document = self._seal.seal(state.model_dump_json())
        saved = SavedState(state.start.purchase_id, ended.run_id, "state", document)
        self._ledger.save_state(saved)


def _may_have_money(state: WorkflowState) -> bool:
    purchase = state.purchase
    return bool(purchase.held or purchase.in_transit or _is_paying(state))


def _is_paying(state: WorkflowState) -> bool:
    """Whether the provider may have made the charge without the workflow's knowledge."""
    return state.purchase.payment in (Payment.PENDING, Payment.VOIDING)


class Adoption:
    """Continues purchases. `paid` returns what the provider has charged for one, if anything; `by`
    is the id of the operator, for the timeline."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        seal: Seal,
        paid: Callable[[str], Money | None],
        by: str = "",
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._seal = seal
        self._paid = paid
        self._memo = {ADOPTED_BY: by} if by else {}
        self._ended = EndedPurchases(client, ledger, seal)

    async def adopt(self, purchase_id: str, *, from_terms: bool = False) -> Adopted:
        """Continue a purchase that has money inside; `from_terms`: with its terms and what the
        ledger has decided, if it has, or if nothing else is known.

        Raises Failure: NOT_FOUND, INVALID_INPUT, RUNNING, ID_TAKEN, CLOSED, NO_MONEY, NO_STATE,
        HISTORY_GONE, UNREADABLE, NO_WORKER, and what a query raises.
        """
        purchase = Purchase(self._client, purchase_id)
        found = await purchase.last_runs()
        if found is None or (found[0] == found[1] and await purchase.input_error()):
            if self._never_was(purchase_id) and (why := await purchase.input_error()):
                raise Rejected("INVALID_INPUT", why)
            return await self._without_history(purchase_id, from_terms)
        newest, ended = found
        if newest.is_open and newest.type != WORKFLOW_TYPE:
            raise Rejected(
                "ID_TAKEN",
                f"The workflow id {newest.id} is taken by a workflow of the type {newest.type}. "
                "Terminate that one, then run adopt again.",
            )
        if ended.is_open:
            raise _running(purchase_id)
        if not ended.is_ended:
            raise Rejected(
                "CLOSED",
                f"Purchase {purchase_id} completed; there is nothing to continue. How it ended: "
                f"recourse status {quote(purchase_id)}. If its refund comes back, or a bank "
                "disputes its payment, its aftercare case opens by itself.",
            )
        if from_terms and self._ledger.decision(purchase_id):
            return await self._without_history(purchase_id, from_terms)
        state = await Purchase(self._client, purchase_id, ended.run_id).saved_state()
        if state is None:
            return await self._unbegun(purchase_id, ended, from_terms)
        inside = self._inside(state)
        # Under the newest run: a run that failed has used up the state under the older one.
        self._ended.keep(newest, state)
        how = f"where it was ended, with {inside}."
        reuse = REUSE if newest.type == WORKFLOW_TYPE else WorkflowIDReusePolicy.ALLOW_DUPLICATE
        return await self._start(newest.run_id, state.start, how, reuse)

    def _never_was(self, purchase_id: str) -> bool:
        """Whether neither ledger nor provider knows the purchase, so that no money moved."""
        if self._ledger.find_state(purchase_id) or self._ledger.balances(purchase_id):
            return False
        return self._paid(purchase_id) is None

    async def _without_history(self, purchase_id: str, from_terms: bool) -> Adopted:
        balances = self._ledger.balances(purchase_id)
        saved = self._ledger.find_state(purchase_id, only_terms=from_terms)
        inside = _amounts(balances.held, balances.in_transit, balances.currency) if balances else ""
        if saved is None:
            raise Rejected(
                "NOT_FOUND",
                f"The server has no history of purchase {purchase_id}, and the ledger has no terms "
                "of it. Check the id. If it is right, settle its money with the payment provider.",
            )
        if not inside and (balances is not None or not (paid := self._paid(purchase_id))):
            raise _no_money(purchase_id)
        inside = inside or f"{paid} at the payment provider"
        if saved.kind == "state":
            state = WorkflowState.model_validate_json(self._opened(saved))
            return await self._start(
                saved.run_id, state.start, f"from its saved state, with {inside}."
            )
        if not from_terms:
            raise Rejected(
                "HISTORY_GONE",
                f"The server has no history of purchase {purchase_id}, which has {inside}. Its "
                "messages and deadlines are lost; what the ledger has decided is not. To begin it "
                "again with its terms and with new deadlines, which notifies both parties, run: "
                f"recourse adopt {purchase_id} --from-terms",
            )
        terms = AcceptedStart.model_validate_json(self._opened(saved))
        name = f"{saved.run_id}-again"  # the state under the old name may have been continued
        self._ledger.save_state(SavedState(purchase_id, name, "terms", saved.document))
        return await self._start(name, terms, f"from its terms, with {inside}.")

    async def _unbegun(self, purchase_id: str, ended: Execution, from_terms: bool) -> Adopted:
        """Continue a purchase that was ended before it had a state."""
        purchase = Purchase(self._client, purchase_id, ended.run_id)
        if adopted_run := await purchase.memo(ADOPTED_RUN):
            saved = self._ledger.find_state(purchase_id, adopted_run)
            if saved is None:
                raise Rejected(
                    "NO_STATE",
                    f"The ledger lacks the state that purchase {purchase_id} was continued with: "
                    "restore its newest backup.",
                )
            # It was ended while it loaded its state.
            again = SavedState(purchase_id, ended.run_id, saved.kind, saved.document)
            self._ledger.save_state(again)
            start = AcceptedStart.model_validate_json(self._start_in(saved))
            return await self._start(ended.run_id, start, "where it was ended.")
        paid = self._paid(purchase_id)
        if paid is None:
            raise await self._nothing_paid(purchase_id, ended)
        if self._ledger.balances(purchase_id):  # a lost run has held it
            return await self._without_history(purchase_id, from_terms)
        await purchase.start(await purchase.terms(), REUSE)
        newest = await Purchase(self._client, purchase_id).newest()
        what = f"Purchase {purchase_id} continues with {paid} at the payment provider."
        return Adopted(purchase_id=purchase_id, run_id=newest.run_id if newest else "", what=what)

    async def _nothing_paid(self, purchase_id: str, ended: Execution) -> Rejected:
        if not await Purchase(self._client, purchase_id).may_start_again():
            return _no_money(purchase_id)
        return Rejected(
            "NO_MONEY",
            f"Purchase {purchase_id} has no money in escrow, and the provider knows no payment of "
            f"it. {start_again(purchase_id, ended)}",
        )

    def _inside(self, state: WorkflowState) -> str:
        """Describe the money inside. Raises Failure `NO_MONEY`."""
        purchase, purchase_id = state.purchase, state.start.purchase_id
        inside = _amounts(purchase.held, purchase.in_transit, purchase.terms.currency)
        if not inside and _is_paying(state):
            paid = self._paid(purchase_id)
            inside = f"{paid} at the payment provider" if paid else ""
        if not inside:
            raise _no_money(purchase_id)
        return inside

    def _start_in(self, saved: SavedState) -> str:
        document = self._opened(saved)
        if saved.kind == "terms":
            return document
        return WorkflowState.model_validate_json(document).start.model_dump_json()

    def _opened(self, saved: SavedState) -> str:
        try:
            return self._seal.unseal(saved.document)
        except Unreadable as error:
            raise Rejected("UNREADABLE", str(error)) from None

    async def _start(
        self, run_id: str, start: AcceptedStart, how: str, reuse: WorkflowIDReusePolicy = REUSE
    ) -> Adopted:
        purchase = Purchase(self._client, start.purchase_id)
        # Not validated again: limits of this release may be narrower than those it began under.
        terms = PurchaseStart.model_construct(**dict(start))
        document = start.model_dump(mode="json", include=set(PurchaseStart.model_fields))
        try:
            memo = {ADOPTED_RUN: run_id, **self._memo}
            new_run = await purchase.begin(document, terms, reuse, **memo)
        except WorkflowAlreadyStartedError:
            raise _running(purchase.id) from None
        await self._begun(purchase)
        return Adopted(
            purchase_id=purchase.id,
            run_id=new_run,
            what=f"Purchase {purchase.id} continues {how}",
        )

    @staticmethod
    async def _begun(purchase: Purchase) -> None:
        """Wait until the new run has its state, as long as for any answer."""
        with suppress(TimeoutError, Unreachable):
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                while await purchase.saved_state() is None:  # noqa: ASYNC110 - on the server
                    await asyncio.sleep(POLL_INTERVAL.total_seconds())


def _amounts(held: int, in_transit: int, currency: str) -> str:
    """Describe money inside; empty if there is none."""
    if not held and not in_transit:
        return ""
    shown = format_amount(held, currency), format_amount(in_transit, currency)
    return f"{shown[0]} in escrow and {shown[1]} in transit"


def _running(purchase_id: str) -> Rejected:
    return Rejected(
        "RUNNING",
        f"Purchase {purchase_id} is running; it cannot be adopted. What it waits for: recourse "
        f"status {quote(purchase_id)}",
    )


def _no_money(purchase_id: str) -> Rejected:
    return Rejected(
        "NO_MONEY",
        f"Purchase {purchase_id} has no money in escrow: it was never paid, or it is settled. Its "
        f"money: recourse ledger {quote(purchase_id)}. To buy again, start a purchase with a new "
        "id.",
    )
