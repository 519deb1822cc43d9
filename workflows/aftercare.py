"""`PurchaseAftercare`: the case about a closed purchase whose payment has moved again.

Started by news about the payment (a webhook, the daily audit), it asks the provider what happened,
follows the table of transitions, and completes when nothing is open any more. What it needs to know
comes from ledger and provider, because the purchase's own history may be gone. It is the shell of a
purchase with another beginning, and guarantees the same about messages, money and notices.
"""

import asyncio

from temporalio import workflow
from temporalio.common import RawValue

from activities.keys import purchase_of_workflow
from activities.requests import ErrorType
from workflows import lifecycle
from workflows.acceptance import closed_purchase, rules_version
from workflows.failures import failure
from workflows.lifecycle.events import Accepted, AftercareReviewed
from workflows.lifecycle.state import Code
from workflows.messages import PurchaseResult
from workflows.purchase import ProjectPurchase
from workflows.receiving.encrypted import Undecipherable
from workflows.workflow_state import WorkflowState


@workflow.defn(name="PurchaseAftercare")
class PurchaseAftercare(ProjectPurchase):
    """One aftercare case. Its workflow id, `aftercare-<purchase id>`, says of which purchase."""

    @workflow.run
    async def run(self, *given: RawValue) -> PurchaseResult:
        """Run until nothing is open; return how the purchase stands then."""
        reviewing = asyncio.create_task(self._end_when_over())
        result = await super().run(*given)
        reviewing.cancel()
        return result

    async def _first_state(self) -> WorkflowState:
        purchase_id = purchase_of_workflow(workflow.info().workflow_id)
        closed = await closed_purchase(purchase_id, self._began)
        started = workflow.info().workflow_start_time
        return WorkflowState.begin_case(closed, self._began, rules_version(), started)

    async def _end_when_over(self) -> None:
        """After the last notice, so that the case is still there for news that come meanwhile."""
        await workflow.wait_condition(lambda: self._is_over)
        self._apply_fact(AftercareReviewed())

    @property
    def _is_over(self) -> bool:
        if not self._accepted or not self._notifier.done or self._queue.waiting:
            return False
        answer = lifecycle.decide(self._state.purchase, AftercareReviewed(), workflow.now())
        return isinstance(answer, Accepted) and bool(answer.transition)

    def _check_input(self) -> None:
        if isinstance(self._input_error, Undecipherable):
            raise self._input_error
        if self._input_error:
            why = f"No aftercare case was opened, and no money moved: {self._input_error}"
            raise failure(ErrorType.INVALID_INPUT, why)

    def _readable_state(self) -> WorkflowState:
        self._check_input()
        if not self._accepted:
            raise failure(Code.NOT_ALLOWED_NOW, "The case is being opened; ask again.")
        return self._state
