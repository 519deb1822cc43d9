"""`webhooks`: receives the payment provider's webhooks and signals the purchase.

Only a webhook with the provider's recent signature is accepted. About a refund of ours the purchase
gets a `settlement_update` with the status fetched from the provider; about anything else that
happened to its payment (a refund made elsewhere, a bank dispute, a confirmation by the client) it
gets `check_payment`. News about a closed purchase opens an aftercare case. The event's id becomes
the `message_id`, so a webhook that is sent again counts once. While a service cannot be reached the
answer is 503, and the provider sends the webhook again.
"""

import asyncio

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client
from temporalio.service import RPCError

from activities.payments import ProviderRejected, ProviderUnreachable
from activities.payments.stripe import StripeProvider
from activities.payments.stripe_webhooks import InvalidSignature, PaymentEvent
from activities.services import Settings, WrongSetting, stripe_of
from temporal.aftercare import report_news
from temporal.client import connect
from temporal.errors import Failure
from temporal.serving import LISTENS, body_of, listen
from workflows.messages import CheckPayment, Message, Role, Sender, SettlementUpdate

LARGEST_BODY = 256_000
"""Bytes. An event about a payment has a few thousand. All connections of an address at once take at
most 26 MB."""

STRIPE = Sender(role=Role.PAYMENTS, id="stripe")

log = structlog.get_logger()


async def serve(host: str, port: int) -> None:
    """Listen until stopped. Raises WrongSetting, or Unreachable if Temporal cannot be reached."""
    settings = Settings.from_environment()
    if settings.payments != "stripe":
        raise WrongSetting(
            f"RECOURSE_PAYMENTS is {settings.payments!r}, which sends no webhooks: use stripe."
        )
    if not settings.stripe_webhook_secret:
        raise WrongSetting("STRIPE_WEBHOOK_SECRET is not set; webhooks cannot be verified.")
    provider = stripe_of(settings)
    client = await connect()
    app = receiver(client, provider, settings.stripe_webhook_secret)
    try:
        await listen(app, host, port, "webhooks_listening")
    finally:
        provider.close()


def receiver(client: Client, provider: StripeProvider, secret: str) -> Starlette:
    """The ASGI application. Answers 200 if no retry is needed, 400 for an invalid signature or
    body, 413 for a body that is too large, and 503 if the provider should retry."""

    async def receive(request: Request) -> JSONResponse:
        body = await body_of(request, LARGEST_BODY)
        if body is None:
            return _answer(413, "too_large")
        signature = request.headers.get("stripe-signature", "")
        try:
            event = await asyncio.to_thread(provider.read_webhook, body, signature, secret)
            return _answer(200, await _signal(client, event) if event else "not_ours")
        except InvalidSignature as error:
            log.warning("webhook_rejected", why=str(error))
            return _answer(400, "invalid_signature")
        except ProviderRejected as error:
            log.warning("webhook_unknown_object", why=str(error))
            return _answer(200, "unknown_object")
        except (ProviderUnreachable, RPCError) as error:
            log.warning("webhook_not_handled", why=str(error))
            return _answer(503, "retry_later")

    return Starlette(routes=[Route("/webhooks/stripe", receive, methods=["POST"]), LISTENS])


async def _signal(client: Client, event: PaymentEvent) -> str:
    """Signal the purchase, or open an aftercare case if it is closed. Other news about a closed
    one are only logged."""
    about = {
        "purchase_id": event.purchase_id,
        "event_type": event.type,
        "event_id": event.event_id,
        "refund_id": event.refund_id,
    }
    try:
        news = _message(event)
        got = await report_news(client, event.purchase_id, news, opens=_opens_case(event))
    except Failure as failure:
        log.warning("webhook_not_signalled", code=failure.code, **about)
        return failure.code.lower()
    log.info("webhook_signalled", to=got, **about)
    return got


def _opens_case(event: PaymentEvent) -> bool:
    """Whether this is news about a closed purchase: a dispute, a refund of ours that failed, or a
    refund made elsewhere. A refund that went well is also reported after the end."""
    if event.refund:
        return event.refund.status == "failed"
    return event.type.startswith(("charge.dispute.", "refund.", "charge.refund."))


def _message(event: PaymentEvent) -> Message:
    """A report on one of our refunds; for any other event, or if the refund has failed or is
    pending, the purchase asks the provider."""
    if event.refund is None or event.refund.status in ("pending", "failed"):
        return CheckPayment(by=STRIPE, message_id=event.event_id)
    return SettlementUpdate(
        by=STRIPE,
        message_id=event.event_id,
        refund_id=event.refund_id,
        status=event.refund.status,
        reference=event.refund.reference,
    )


def _answer(status: int, result: str) -> JSONResponse:
    return JSONResponse({"result": result}, status)
