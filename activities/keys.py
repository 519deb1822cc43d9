"""Workflow ids and idempotency keys: `purchase-<purchase id>` and `<workflow id>/<effect>`."""

WORKFLOW_ID_PREFIX = "purchase-"


def workflow_id_of(purchase_id: str) -> str:
    """Return the id of a purchase's workflow."""
    return f"{WORKFLOW_ID_PREFIX}{purchase_id}"


def hint_for(unknown_id: str) -> str:
    """A sentence to add where no purchase has this id: it may be a workflow id."""
    purchase_id = purchase_of_workflow(unknown_id)
    return "" if purchase_id == unknown_id else f" Did you mean the purchase {purchase_id}?"


def purchase_of(key: str) -> str:
    """Return the purchase id in an idempotency key."""
    return purchase_of_workflow(key.rpartition("/")[0])


def purchase_of_workflow(workflow_id: str) -> str:
    """Return the purchase id in a workflow id."""
    return workflow_id.removeprefix(WORKFLOW_ID_PREFIX)
