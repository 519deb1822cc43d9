"""What `setup` and every worker check about the server and the namespace."""

import pytest
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from temporal import embedded
from temporal.errors import ServerUnreachable
from temporal.limits import missing_limits
from temporal.registration import register_search_attributes


async def test_a_search_attribute_of_another_type_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another application has registered its name. The sentence says what to do."""
    other = [SearchAttributeKey.for_int("PurchaseStage")]
    monkeypatch.setattr(embedded, "SEARCH_ATTRIBUTES", other)
    async with embedded.server() as server:
        with pytest.raises(
            ServerUnreachable,
            match=r"PurchaseStage .* type Int; purchases need Keyword .* remove --name",
        ):
            await register_search_attributes(server.client)


async def test_a_server_without_our_limits_is_reported(server: WorkflowEnvironment) -> None:
    """A server with the default limits accepts payloads of 2 MiB."""
    assert await missing_limits(server.client) is None
    defaults = ("--dynamic-config-value", "limit.blobSize.error=2097152")
    async with embedded.server(extra=defaults) as other:
        why = await missing_limits(other.client)
    assert why is not None
    assert "2,097,152 bytes" in why
    assert "deploy/temporal/dynamicconfig.yaml" in why
