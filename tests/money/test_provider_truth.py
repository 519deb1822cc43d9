"""The audit reads what the provider knows about each charge, also what somebody else did to it."""

from demo.runner import Handle, send, start, until
from tests.money.conftest import SHOP, StripeWorld
from tests.purchases import purchase
from workflows.messages import Role


async def held(stripe: StripeWorld) -> tuple[Handle, str]:
    """A purchase with its money in escrow, and the provider's name for the payment."""
    handle = await start(stripe.client, purchase("pm_card_visa"))
    await until(handle, lambda found: found.payment == "held")
    group = f"{SHOP}/{handle.id}/hold"
    (intent,) = (each for each in stripe.stripe.intents if each["transfer_group"] == group)
    return handle, intent["id"]


async def test_a_payment_of_which_only_a_part_was_captured_is_found(stripe: StripeWorld) -> None:
    handle, intent = await held(stripe)
    assert await stripe.differences(handle) == []
    stripe.stripe.capture_part(intent, 100_00)
    (found,) = await stripe.differences(handle)
    assert "has a hold of 250.00 USD; the provider charged 100.00 USD" in found.what


async def test_a_disputed_payment_is_found_and_nothing_is_sent_back(stripe: StripeWorld) -> None:
    """The webhook was lost, so the purchase does not know."""
    handle, intent = await held(stripe)
    dispute = stripe.stripe.dispute(intent)
    (found,) = await stripe.differences(handle)
    assert (
        f"the client's bank disputes 250.00 USD ({dispute}: opened at the provider)" in found.what
    )
    assert "the client no money" in found.what_to_do


async def test_a_refund_without_our_metadata_is_found_by_its_charge(stripe: StripeWorld) -> None:
    stripe.stripe.new_refunds("pending")
    handle, intent = await held(stripe)
    await send(handle, Role.FREELANCER, "give_refund")
    await until(handle, lambda found: bool(found.refund and found.refund.status == "pending"))
    assert await stripe.differences(handle) == []
    (refund,) = (each for each in stripe.stripe.refunds if each["payment_intent"] == intent)
    stripe.stripe.remove_metadata(refund["id"])
    (found,) = await stripe.differences(handle)
    assert "refunded 250.00 USD, and not for this purchase's request" in found.what
