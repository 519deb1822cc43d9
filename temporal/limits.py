"""Whether the server has the limits that protect purchases from floods of large messages."""

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

LARGEST_PAYLOAD = 1024 * 1024
"""`limit.blobSize.error` in `deploy/temporal/dynamicconfig.yaml`. It times
`history.maximumSignalsPerExecution` is the history that signals can make within one run."""

SETTINGS = "deploy/temporal/dynamicconfig.yaml"


async def missing_limits(client: Client) -> str | None:
    """A sentence if the server lacks our limits; None if it has them, or does not say.

    A server reports only the largest payload to its clients. The other limits are taken to be set
    together with it.
    """
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        answer = await client.workflow_service.describe_namespace(request)
    except RPCError:
        return None
    accepted = answer.namespace_info.limits.blob_size_limit_error
    if accepted <= LARGEST_PAYLOAD:
        return None
    return (
        f"This server accepts payloads of {accepted:,} bytes: a flood of large signals can make it "
        f"terminate a purchase with the money inside. Give it the settings of {SETTINGS}; where "
        "that is not possible, let only your own service send signals."
    )
