"""Workflow ids and idempotency keys: `purchase-<purchase id>` and `<workflow id>/<effect>`."""

WORKFLOW_ID_PREFIX = "purchase-"


def purchase_of(key: str) -> str:
    """Return the purchase id in an idempotency key."""
    return key.rpartition("/")[0].removeprefix(WORKFLOW_ID_PREFIX)
