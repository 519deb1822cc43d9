"""How the fake answers requests: idempotency keys, faults and endpoints."""

import base64
import json
import re
import threading
from asyncio import FIRST_COMPLETED, create_task, wait, wrap_future
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Literal

import stripe
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.stripe import forms, keys
from tests.stripe.disputes import Disputes
from tests.stripe.forms import Object, Rejection
from tests.stripe.keys import Answer
from tests.stripe.objects import expand, new_id
from tests.stripe.serving import cut, gone

Fault = Literal[
    "lost",  # performed and kept, then the connection is cut
    "cut",  # the connection is cut, nothing performed
    "stored_500",  # 500, kept under the key, nothing performed
    "performed_500",  # performed, yet 500 is kept under the key
    "conflict",  # 409: another request holds the key
    "rate_limited",  # 429
    "hang",  # not performed; no answer until `release`, or until the client gives up
    "hang_performed",  # performed at once; the same silence
    "late",  # performed only on `release`, even if the client has given up by then
    "declined",  # the bank declines the charge of this request
]
Plan = Callable[[str, str], Fault | None]
Status = Literal["pending", "succeeded"]
Perform = Callable[[Disputes, Object, str], Object]

WENT_WRONG: Object = {
    "error": {"type": "api_error", "message": "An unknown error occurred on our side."}
}
ROUTES: list[tuple[str, str, Perform]] = [
    ("GET", r"/v1/account", lambda to, params, _: to.account()),
    ("GET", r"/v1/payment_methods/(\w+)", lambda to, params, name: to.method(name, "id")),
    ("POST", r"/v1/payment_intents", lambda to, params, _: to.create_intent(params)),
    ("GET", r"/v1/payment_intents", lambda to, params, _: to.list_intents(params)),
    ("GET", r"/v1/payment_intents/search", lambda to, params, _: to.search_intents(params)),
    ("GET", r"/v1/payment_intents/(\w+)", lambda to, params, name: to.intent(name)),
    (
        "POST",
        r"/v1/payment_intents/(\w+)",
        lambda to, params, name: to.update_intent(name, params),
    ),
    (
        "POST",
        r"/v1/payment_intents/(\w+)/capture",
        lambda to, params, name: to.capture_intent(name, params),
    ),
    (
        "POST",
        r"/v1/payment_intents/(\w+)/confirm",
        lambda to, params, name: to.confirm_intent(name, params),
    ),
    (
        "POST",
        r"/v1/payment_intents/(\w+)/cancel",
        lambda to, params, name: to.cancel_intent(name, params),
    ),
    ("POST", r"/v1/charges", lambda to, params, _: to.create_charge(params)),
    ("GET", r"/v1/charges", lambda to, params, _: to.list_charges(params)),
    ("GET", r"/v1/charges/(\w+)", lambda to, params, name: to.charge(name)),
    ("POST", r"/v1/charges/(\w+)", lambda to, params, name: to.update_charge(name, params)),
    ("GET", r"/v1/disputes", lambda to, params, _: to.list_disputes(params)),
    ("GET", r"/v1/disputes/(\w+)", lambda to, params, name: to.dispute(name)),
    ("POST", r"/v1/disputes/(\w+)", lambda to, params, name: to.update_dispute(name, params)),
    (
        "POST",
        r"/v1/disputes/(\w+)/close",
        lambda to, params, name: to.close_dispute(name, params),
    ),
    ("POST", r"/v1/refunds", lambda to, params, _: to.create_refund(params)),
    ("GET", r"/v1/refunds", lambda to, params, _: to.list_refunds(params)),
    ("GET", r"/v1/refunds/(\w+)", lambda to, params, name: to.refund(name)),
    (
        "POST",
        r"/v1/refunds/(\w+)/cancel",
        lambda to, params, name: to.cancel_refund(name, params),
    ),
]


@dataclass(frozen=True)
class Call:
    """A request and its status; None if it was not answered."""

    id: str
    method: str
    path: str
    key: str | None
    account: str | None
    params: Object
    fault: Fault | None
    status: int | None = None
    replayed: bool = False


class Api:
    """Answers requests. One lock protects its state."""

    def __init__(self, api_key: str, clock: Callable[[], float]) -> None:
        self.api_key = api_key
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._held: list[Future[None]] = []
        self._holds = True
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._accounts: dict[str | None, Disputes] = {}
        self._faults: list[tuple[Fault, str, str]] = []
        self._plan: Plan | None = None
        self._calls: list[Call] = []
        self._new_refunds: Status = "succeeded"
        self._pending_reason = "processing"
        self._searchable = True

    def _account(self, name: str | None = None) -> Disputes:
        """Return the account of the API key, or that of `Stripe-Account`."""
        if name not in self._accounts:
            self._accounts[name] = Disputes(self._clock, stripe.api_version or "")
        account = self._accounts[name]
        account.new_refunds, account.pending_reason = self._new_refunds, self._pending_reason
        account.searchable = self._searchable
        return account

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        request = Request(scope, receive)
        encoded = request.url.query if request.method == "GET" else (await request.body()).decode()
        call, calls = self._heard(request), self._calls
        try:
            self._authenticate(request.headers.get("Authorization", ""))
            call = replace(call, params=forms.parse(encoded))
            answer = await self._answer(call, receive)
        except Rejection as no:
            answer = answered(no.status, no.body, kept=no.kept)
        status = answer.status if answer else None
        replayed = answer is not None and "Idempotent-Replayed" in answer.headers
        with self._changed:
            calls.append(replace(call, status=status, replayed=replayed))
            self._changed.notify_all()
        if answer is None:
            await cut(scope, receive)
            return
        headers = {"Request-Id": call.id} | ({"Idempotency-Key": call.key} if call.key else {})
        response = Response(
            answer.body, answer.status, headers | answer.headers, "application/json"
        )
        await response(scope, receive, send)

    def _heard(self, request: Request) -> Call:
        method, path, headers = request.method, request.url.path, request.headers
        return Call(
            new_id("req"),
            method,
            path,
            headers.get("Idempotency-Key") if method == "POST" else None,
            headers.get("Stripe-Account"),
            {},
            self._next_fault(method, path),
        )

    def _authenticate(self, header: str) -> None:
        scheme, _, given = header.partition(" ")
        if scheme == "Basic":
            given = base64.b64decode(given + "==").decode(errors="replace").partition(":")[0]
        if scheme not in ("Basic", "Bearer") or not given:
            raise Rejection(401, "You did not provide an API key.")
        if given != self.api_key:
            hidden = given[:8] + "*" * 8 + given[-4:]
            raise Rejection(401, f"Invalid API Key provided: {hidden}")

    def _next_fault(self, method: str, path: str) -> Fault | None:
        with self._changed:
            for n, (fault, by, start) in enumerate(self._faults):
                if method == by and path.startswith(start):
                    del self._faults[n]
                    return fault
            plan = self._plan
        return plan(method, path) if plan else None

    # --- Keys and faults -----------------------------------------------------------------------

    async def _answer(self, call: Call, receive: Receive) -> Answer | None:
        """Return the answer to the request, or None to reset the connection."""
        if call.fault == "rate_limited":
            raise Rejection(429, "Too many requests hit the API too quickly.", code="rate_limit")
        if call.fault == "cut":
            return None
        if call.fault == "conflict":
            raise keys.in_use(call.key)
        with self._changed:
            account = self._account(call.account)
            begun = account.keys.begin(call.key, call.id, call.path, call.params)
        if begun is None:
            begun = await self._first(call, account, receive)
        elif call.fault in ("hang", "hang_performed", "late"):
            await self._hold(receive)
        return None if call.fault in ("lost", "hang") else begun

    async def _first(self, call: Call, account: Disputes, receive: Receive) -> Answer | None:
        """Perform the first request with a key, which it holds meanwhile."""
        answer = None
        try:
            if call.fault == "hang":
                await self._hold(receive)
                return None
            if call.fault == "late":
                await self._hold(None)
            with self._changed:
                answer = self._performed(call, account)
            if call.fault == "hang_performed":
                await self._hold(receive)
            return answer
        finally:
            with self._changed:
                account.keys.end(call.key, answer)

    async def _hold(self, receive: Receive | None) -> None:
        """Return on `release`, or when the client disconnects if that is watched."""
        held: Future[None] = Future()
        with self._changed:
            if not self._holds:
                return
            self._held.append(held)
            self._changed.notify_all()
        released = wrap_future(held)
        if receive is None:
            await released
            return
        hung_up = create_task(gone(receive))
        await wait({released, hung_up}, return_when=FIRST_COMPLETED)
        hung_up.cancel()
        with self._changed:
            if held in self._held:
                self._held.remove(held)
                held.set_result(None)

    def _performed(self, call: Call, account: Disputes) -> Answer:
        if call.fault == "stored_500":
            return answered(500, WENT_WRONG)
        account.decline_next = call.fault == "declined"
        try:
            answer = answered(200, self._perform(call, account))
        except Rejection as no:
            answer = answered(no.status, no.body, kept=no.kept)
        if call.fault == "performed_500" and answer.kept:
            return answered(500, WENT_WRONG)
        return answer

    def _perform(self, call: Call, account: Disputes) -> Object:
        for method, pattern, perform in ROUTES:
            found = re.fullmatch(pattern, call.path)
            if found and method == call.method:
                done = perform(account, call.params, "".join(found.groups()))
                if done["object"] in ("list", "search_result"):
                    return done
                return account.shown(done, expand(call.params))
        raise Rejection(404, f"Unrecognized request URL ({call.method}: {call.path}).")


def answered(status: int, body: Object, *, kept: bool = True) -> Answer:
    """Return the answer with this body."""
    return Answer(status, json.dumps(body, indent=2).encode(), kept)
