"""Idempotency keys as Stripe documents them."""

from dataclasses import dataclass, field

from tests.stripe.forms import Object, Rejection

LONGEST = 255


@dataclass(frozen=True)
class Answer:
    """What a request is answered; `kept` says whether it comes back under the same key."""

    status: int
    body: bytes
    kept: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Use:
    """The first request with a key; without an `answer` while it is still running."""

    request_id: str
    path: str
    params: Object
    answer: Answer | None = None


def in_use(key: str | None) -> Rejection:
    """The answer to a request whose key another request holds."""
    return Rejection(
        409,
        "There is currently another in-progress request using this Idempotent Key (that probably "
        f"means you submitted twice, and the other request is still going through): {key}.",
        kind="idempotency_error",
        code="idempotency_key_in_use",
    )


class Keys:
    """The keys of one account."""

    def __init__(self) -> None:
        self._uses: dict[str, Use] = {}

    def begin(self, key: str | None, request_id: str, path: str, params: Object) -> Answer | None:
        """The kept answer; None if this request is the first with its key, which it now holds.

        Raises Rejection if the key was used for another request, or is held by one.
        """
        if key is None:
            return None
        if len(key) > LONGEST:
            raise Rejection(400, f"Idempotency keys can have up to {LONGEST} characters.")
        use = self._uses.get(key)
        if use is None:
            self._uses[key] = Use(request_id, path, params)
            return None
        if (use.path, use.params) != (path, params):
            what = "parameters" if use.path == path else "endpoint"
            raise Rejection(
                400,
                "Keys for idempotent requests can only be used with the same "
                f"{what} they were first used with. Try using a key other than '{key}' if you "
                "meant to execute a different request.",
                kind="idempotency_error",
            )
        if use.answer is None:
            raise in_use(key)
        replayed = {"Idempotent-Replayed": "true", "Original-Request": use.request_id}
        return Answer(use.answer.status, use.answer.body, headers=replayed)

    def end(self, key: str | None, answer: Answer | None) -> None:
        """The request that held the key is over; without an answer to keep, as if never made."""
        if key is None:
            return
        if answer is None or not answer.kept:
            del self._uses[key]
        else:
            self._uses[key].answer = answer

    def forget(self) -> None:
        """Drops every kept answer, as Stripe may a day after it was given."""
        self._uses = {key: use for key, use in self._uses.items() if use.answer is None}
