"""How a purchase fails: with a code and a sentence, and only before it has begun, so that no money
is inside."""

from shlex import quote

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.keys import WORKFLOW_ID_PREFIX, purchase_of_workflow
from activities.requests import ErrorType


def failure(code: str, text: str) -> ApplicationError:
    """The error of a workflow, a query or an update, with a code and a sentence."""
    return ApplicationError(text, type=code, non_retryable=True)


def not_continued(why: str) -> ApplicationError:
    """The failure of a run that `recourse adopt` began and that could not continue the purchase."""
    purchase_id = quote(purchase_of_workflow(workflow.info().workflow_id))
    return failure(
        ErrorType.INVALID_INPUT,
        f"This run did not continue the purchase, and no money moved: {why} Run: recourse adopt "
        f"{purchase_id}",
    )


def id_already_used(why: str) -> ApplicationError:
    """The failure of a start under an id that another purchase has."""
    purchase_id = purchase_of_workflow(workflow.info().workflow_id)
    return failure(
        ErrorType.INVALID_INPUT,
        f"This start of purchase {purchase_id} was rejected, and no money moved: {why}",
    )


def never_started(why: str) -> ApplicationError:
    """The failure of a purchase whose start input is rejected."""
    workflow_id = workflow.info().workflow_id
    if not workflow_id.startswith(WORKFLOW_ID_PREFIX):
        return failure(
            ErrorType.INVALID_INPUT,
            f"The start of the workflow {workflow_id} was rejected, and no money moved: {why} "
            f"Start it again with the workflow id {WORKFLOW_ID_PREFIX}<purchase_id>.",
        )
    purchase_id = purchase_of_workflow(workflow_id)
    return failure(
        ErrorType.INVALID_INPUT,
        f"Purchase {purchase_id} never started, and no money moved: {why} Send the corrected input "
        "under the same id with `recourse purchase`, or with the workflow id reuse policy "
        "AllowDuplicateFailedOnly.",
    )
