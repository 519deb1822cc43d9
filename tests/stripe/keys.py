"""Idempotency keys as Stripe documents them."""

from dataclasses import dataclass, field

from tests.stripe.forms import Object, Rejection

LONGEST = 255


@dataclass(frozen=True)
class Answer:
    """The answer to a request; `kept`: stored under its key and replayed."""

    status: int
    body: bytes
    kept: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Use:
    """The first request with a key. `answer` is None while it is running."""

    request_id: str
    path: str
    params: Object
    answer: Answer | None = None


def in_use(key: str | None) -> Rejection:
    """Return the error for a key that a running request holds."""
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
        """Return the stored answer; None if this is the first request with its key, which it holds.

        Raises Rejection if the key belongs to another request, or a running request holds it.
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
        """Release the key; store the answer, or forget the request if there is none to store."""
        if key is None:
            return
        if answer is None or not answer.kept:
            del self._uses[key]
        else:
            self._uses[key].answer = answer

    def forget(self) -> None:
        """Drop every stored answer, as Stripe may after a day."""
        self._uses = {key: use for key, use in self._uses.items() if use.answer is None}
