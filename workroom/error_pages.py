"""The pages for what went wrong."""

from http import HTTPStatus

import structlog
from starlette.responses import Response

from activities.links import NotSigned
from activities.notices.formats import Reader
from temporal.access import NotYours
from temporal.errors import Failure, Unreachable
from workroom.limits import TooMany
from workroom.problems import failure_of
from workroom.sessions import Session
from workroom.show import page

log = structlog.get_logger()


class SignedOut(Exception):
    """There is no session. The message says why. `at`: our page that signs people in, if any."""

    def __init__(self, why: str, at: str | None = None) -> None:
        super().__init__(why)
        self.at = at


def error_page(
    error: Exception, session: Session | None, reader: Reader, written: str = ""
) -> Response:
    """The page for what went wrong, with what the person has `written` and not sent. Raises an
    unexpected error again."""
    status, heading, text = _explained(error, reader)
    at = error.at if isinstance(error, SignedOut) else None
    return page(
        "failed",
        session,
        reader,
        status=status,
        heading=heading,
        text=text,
        sign_in=at,
        written=written,
    )


def plain_page(status: HTTPStatus, reader: Reader, session: Session | None = None) -> Response:
    """The page for an address that is not known, or for a fault of ours."""
    own = reader.text
    heading, text = own("Not found"), own("There is no such page.")
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        heading, text = own("Try again soon"), own("This is a fault of ours, and is in our log.")
    return page(
        "failed",
        session,
        reader,
        status=status,
        heading=heading,
        text=text,
        sign_in=None,
        written="",
    )


def _explained(error: Exception, reader: Reader) -> tuple[HTTPStatus, str, str]:
    own = reader.text
    match error:
        case SignedOut():
            advice = own("Open the link in the newest mail about your purchase.")
            why = reader.text_if_known(str(error))
            return HTTPStatus.UNAUTHORIZED, own("Sign in"), why if error.at else f"{why} {advice}"
        case NotYours():
            text = own(
                "This page is not for you, or you have to open the link in a mail about it first."
            )
            return HTTPStatus.FORBIDDEN, own("Not yours"), text
        case NotSigned():
            text = own(
                "The form was open for too long, or you have signed in again since. Open it again."
            )
            return HTTPStatus.FORBIDDEN, own("Nothing was sent"), text
        case TooMany():
            text = own("You have opened many pages in a short time. Wait some seconds.")
            return HTTPStatus.TOO_MANY_REQUESTS, own("Too many requests"), text
        case Unreachable():
            log.warning("page_not_answered", code=error.code, why=error.text)
            text = own("Our system does not answer now. Nothing is lost; try again in a minute.")
            return HTTPStatus.SERVICE_UNAVAILABLE, own("Try again soon"), text
        case Failure(code="NOT_FOUND"):
            return HTTPStatus.NOT_FOUND, own("Not found"), reader.text_if_known(error.text)
        case Failure():
            text = reader.text_if_known(error.text)
            return HTTPStatus.CONFLICT, own("Not possible now"), text
    return _explained(failure_of(error), reader)
