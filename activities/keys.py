"""Workflow ids and idempotency keys.

A workflow is `purchase-<purchase id>`, a key `<workflow id>/<effect>`. A payment provider gets
`<deployment>/<key>`, because several deployments may use one account.
"""

import re

WORKFLOW_ID_PREFIX = "purchase-"

LOCAL = "local"
"""The name of a deployment that has been given none."""

DEPLOYMENT = re.compile("[a-z0-9-]{1,32}")
"""The name of a deployment. It has no slash, so the first one in a provider's key ends it."""


USED_ONCE = "An id is used once: start it with a new id."
"""Ends the reason why a start under an id that was used before is rejected."""


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


def provider_key(deployment: str, key: str) -> str:
    """Return what a key is called at the payment provider."""
    return f"{deployment}/{key}"


def own_key(deployment: str, name: str) -> str:
    """Return the key that a provider's record is of; "" for another deployment's or program's."""
    owner, _, key = name.partition("/")
    return key if owner == deployment else ""
