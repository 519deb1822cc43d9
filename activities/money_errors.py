"""The errors of provider and ledger as ApplicationErrors, with a sentence for the reader of the
Temporal Web UI and an ErrorType."""

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.amounts import UnknownCurrency
from activities.calendar import UnknownCalendar
from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.database.personal import Forgotten
from activities.ledger import LedgerRejected, PurchaseExists
from activities.payments import ProviderRejected, ProviderUnreachable
from activities.requests import ErrorType


@contextmanager
def application_errors(payment_method: str = "") -> Iterator[None]:
    """Turn the errors of provider and ledger into ApplicationErrors with a readable message.

    Causes are dropped: Temporal would store their message and stack trace in history.
    """
    try:
        yield
    except ProviderUnreachable as error:
        raise ApplicationError(
            f"The payment provider cannot be reached: {without(payment_method, str(error))}",
            type=ErrorType.PROVIDER_UNREACHABLE,
        ) from None
    except ProviderRejected as error:
        raise ApplicationError(
            f"The payment provider rejected the request: {without(payment_method, str(error))}",
            type=ErrorType.PROVIDER_REJECTED,
            non_retryable=True,
        ) from None
    except (DatabaseUnreachable, SchemaMismatch) as error:  # somebody may run setup
        raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
    except UnknownCalendar as error:
        raise ApplicationError(
            str(error), type=ErrorType.UNKNOWN_CALENDAR, non_retryable=True
        ) from None
    except UnknownCurrency as error:
        raise ApplicationError(
            f"price.currency: {error}.", type=ErrorType.WITHDRAWN_CURRENCY, non_retryable=True
        ) from None
    except PurchaseExists as error:
        raise ApplicationError(
            str(error), type=ErrorType.PURCHASE_EXISTS, non_retryable=True
        ) from None
    except Forgotten as error:
        raise ApplicationError(
            str(error), type=ErrorType.LEDGER_REJECTED, non_retryable=True
        ) from None
    except LedgerRejected as error:
        _count_rejection(error.code)
        raise ApplicationError(
            f"The ledger rejected the operation: {error.text}",
            error.code,
            type=ErrorType.LEDGER_REJECTED,
            non_retryable=True,
        ) from None


def _count_rejection(code: str) -> None:
    if activity.in_activity():
        rejections = activity.metric_meter().create_counter(
            "recourse_ledger_rejections", "Operations that the ledger rejected"
        )
        rejections.add(1, {"code": code})


def without(payment_method: str, text: str) -> str:
    """Return `text` without the payment method, which providers quote in their messages."""
    return text.replace(payment_method, "the payment method") if payment_method else text
