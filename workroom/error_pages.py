"""The pages for what went wrong."""

from http import HTTPStatus

from starlette.responses import Response

from activities.links import NotSigned
from temporal.access import NotYours
from temporal.errors import Failure, Unreachable
from workroom.limits import TooMany
from workroom.problems import failure_of
from workroom.sessions import Session
from workroom.show import page


class SignedOut(Exception):
    """There is no session. The message says why. `at`: our page that signs people in, if any."""

    def __init__(self, why: str, at: str | None = None) -> None:
        super().__init__(why)
        self.at = at


def error_page(error: Exception, session: Session | None) -> Response:
    """The page for what went wrong. Raises an unexpected error again."""
    status, heading, text = _explained(error)
    at = error.at if isinstance(error, SignedOut) else None
    return page("failed", session, status=status, heading=heading, text=text, sign_in=at)


def _explained(error: Exception) -> tuple[HTTPStatus, str, str]:
    match error:
        case SignedOut():
            advice = "To sign in, open the link in the newest mail about your purchase."
            text = str(error) if error.at else f"{error} {advice}"
            return HTTPStatus.UNAUTHORIZED, "Sign in", text
        case NotYours():
            text = (
                "This page is not for you, or you have to open the link in a mail about it first."
            )
            return HTTPStatus.FORBIDDEN, "Not yours", text
        case NotSigned():
            text = (
                "The form was open for too long, or you have signed in again since. Open it again."
            )
            return HTTPStatus.FORBIDDEN, "Nothing was sent", text
        case TooMany():
            text = "You have opened many pages in a short time. Wait some seconds."
            return HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", text
        case Unreachable():
            text = "Our system does not answer now. Nothing is lost; try again in a minute."
            return HTTPStatus.SERVICE_UNAVAILABLE, "Try again soon", text
        case Failure(code="NOT_FOUND"):
            return HTTPStatus.NOT_FOUND, "Not found", error.text
        case Failure():
            return HTTPStatus.CONFLICT, "Not possible now", error.text
    return _explained(failure_of(error))
