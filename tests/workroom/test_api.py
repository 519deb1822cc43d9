"""The HTTP API: what machines may start, see and send, on a real server with a worker."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
import requests
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from demo.runner import status, until
from docs.samples import SAMPLES
from temporal import purchases
from temporal.purchases import Purchase
from tests.purchases import held, purchase, purchase_of
from tests.schemas import validator_of
from tests.stripe.serving import serving
from tests.workroom.callers import (
    ANA,
    BO,
    EVE,
    MEDIATOR,
    OPERATOR,
    Caller,
    pointers,
    problem,
    token,
)
from tests.workroom.conftest import ENVIRONMENT, Call
from tests.workroom.visitor import signed_in
from workflows.messages import MESSAGES, Message, Receipt, Status
from workflows.receiving.encrypted import Undecipherable
from workroom.server import workroom
from workroom.settings import WorkroomSettings

NOBODY = ("freelancer", "ana")


async def test_a_purchase_is_bought_cancelled_and_refunded_over_http(call: Call) -> None:
    """Start, status, actions, cancel, approve: the sender of each is the token's."""
    ana, bo = call(ANA), call(BO)
    terms = purchase().model_dump(mode="json")
    path = f"/{terms['purchase_id']}"

    started = await ana.post("", terms)
    assert (started.status_code, started.json()["already_started"]) == (200, False)
    assert (await ana.post("", terms)).json()["already_started"] is True

    cancelled = await ana.post(f"{path}/cancel", {"reason": "My plans have changed."})
    assert cancelled.status_code == 200
    assert Receipt.model_validate(cancelled.json()).stage == "refund_requested"
    actions = {
        each["message"]: each["allowed"] for each in (await bo.get(f"{path}/actions")).json()
    }
    assert (actions["decide_refund"], actions["cancel"]) == (True, True)

    approved = await bo.post(f"{path}/decide_refund", {"decision": "approve"})
    assert approved.status_code == 200
    found = Status.model_validate((await bo.get(path)).json())
    assert (found.purchase_id, found.stage) == (terms["purchase_id"], "settling")
    assert [entry.by for entry in found.timeline[:2]] != ["freelancer", "freelancer"]


async def test_only_the_client_and_staff_see_where_the_payment_is_confirmed(call: Call) -> None:
    """The link is the client's own: the bank asks who has the card."""
    terms = purchase("pm_sandbox_needs_client").model_dump(mode="json")
    path, ana = f"/{terms['purchase_id']}", call(ANA)
    await ana.post("", terms)
    while not (link := (await ana.get(path)).json()["confirm_url"]):
        pass
    assert link.startswith("https://")
    assert (await call(OPERATOR).get(path)).json()["confirm_url"] == link
    assert (await call(BO).get(path)).json()["confirm_url"] is None


async def test_a_client_cannot_say_where_a_purchase_stands(call: Call) -> None:
    """Only operators import: a client could give themselves a refund that is nearly due."""
    terms = purchase().model_dump(mode="json", exclude={"payment_method"})
    where = {"stage": "in_progress", "deadlines": {"dormancy": "2999-01-01T00:00:00Z"}}
    bought = {"payment_reference": "ch_1", "purchased_at": "2026-11-01T00:00:00Z"}
    answer = await call(ANA).post("", {**terms, **bought, "imported": where})
    assert problem(answer) == (403, "FORBIDDEN")


async def test_what_the_rules_reject_is_a_conflict_with_its_code(
    server: WorkflowEnvironment, call: Call
) -> None:
    path = f"/{purchase_of(await held(server))}"
    assert problem(await call(ANA).post(f"{path}/accept_delivery")) == (409, "NOT_ALLOWED_NOW")
    assert problem(await call(BO).post(f"{path}/open_dispute", {"reason": "no"})) == (
        409,
        "WRONG_ROLE",
    )
    await call(ANA).post(f"{path}/cancel")
    assert problem(await call(ANA).post(f"{path}/cancel")) == (409, "ALREADY_REQUESTED")


async def test_a_sender_in_the_body_is_invalid(server: WorkflowEnvironment, call: Call) -> None:
    """Also the token's own: `by` comes from the token only."""
    handle = await held(server)
    for by in ({"role": "freelancer", "id": "bo"}, {"role": "client", "id": "ana"}, None):
        answer = await call(ANA).post(f"/{purchase_of(handle)}/cancel", {"by": by})
        assert pointers(answer) == ["/by"]
    assert (await status(handle)).stage == "awaiting_requirements"


@pytest.mark.parametrize(
    ("message", "body", "where"),
    [
        ("cancel", {"reasn": "typing error"}, ["/reasn"]),
        ("cancel", {"reason": " "}, ["/reason"]),
        ("cancel", {"message_id": "x" * 65}, ["/message_id"]),
        ("propose_split", {}, ["/refund"]),
        ("propose_split", {"refund": "100.00"}, ["/refund"]),
        ("propose_split", {"refund": 100.5}, ["/refund"]),
        ("propose_split", {"refund": True, "note": 7}, ["/note", "/refund"]),
        ("decide_refund", {"decision": "perhaps"}, ["/decision"]),
        ("decide_refund", {"decision": "approve", "claim": 1}, [""]),
        ("submit_requirements", {"requirements": []}, ["/requirements"]),
    ],
)
async def test_an_invalid_field_is_named(
    call: Call, server: WorkflowEnvironment, message: str, body: Any, where: list[str]
) -> None:
    path = f"/{await _one(server)}/{message}"
    assert pointers(await call(ANA).post(path, body)) == where


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"text"', b"nul", b"\xff", b"[" * 5_000, b'{"reason": NaN}', b'{"a":"\\ud800"}'],
)
async def test_a_body_that_is_no_json_object_is_invalid(
    call: Call, server: WorkflowEnvironment, body: bytes
) -> None:
    assert problem(await call(ANA).post(f"/{await _one(server)}/cancel", body)) == (
        422,
        "INVALID_INPUT",
    )


async def test_a_body_that_is_too_large_is_not_read(
    call: Call, server: WorkflowEnvironment
) -> None:
    answer = await call(ANA).post(f"/{await _one(server)}/cancel", {"reason": "x" * 200_000})
    assert problem(answer) == (413, "TOO_LARGE")


_purchases: list[str] = []


async def _one(server: WorkflowEnvironment) -> str:
    """A purchase of Ana and Bo that no test changes."""
    if not _purchases:
        _purchases.append(purchase_of(await held(server)))
    return _purchases[0]


# --- once


async def test_a_repeated_message_counts_once(server: WorkflowEnvironment, call: Call) -> None:
    """By the header or by `message_id`; the first answer comes again."""
    handle = await held(server)
    path, ana = f"/{purchase_of(handle)}/send_message", call(ANA)
    before = len((await status(handle)).timeline)
    key = {"Idempotency-Key": "once-1"}
    answers = [
        await ana.post(path, {"text": "Hello"}, key),
        await ana.post(path, {"text": "Hello"}, key),
        await ana.post(path, {"text": "Hello", "message_id": "once-1"}),
        await ana.post(path, {"text": "Hello", "message_id": "once-1"}, key),
    ]
    assert {each.text for each in answers} == {answers[0].text}
    assert len((await status(handle)).timeline) == before + 1
    changed = await ana.post(path, {"text": "Good-bye"}, key)
    assert problem(changed) == (422, "INVALID_MESSAGE")
    differs = await ana.post(path, {"text": "Hello", "message_id": "once-2"}, key)
    assert pointers(differs) == ["/message_id"]
    assert pointers(await ana.post(path, {"text": "Hello"}, {"Idempotency-Key": "a b"})) == [
        "/message_id"
    ]


async def test_a_start_is_repeated_and_no_other_takes_its_id(call: Call) -> None:
    """Somebody else who tries the id does not learn what it was used for."""
    terms = purchase().model_dump(mode="json")
    both = await asyncio.gather(*(call(ANA).post("", terms) for _ in range(2)))
    assert sorted(each.json()["already_started"] for each in both) == [False, True]
    other = {**terms, "title": "Another"}
    known = await call(OPERATOR).post("", other)
    assert problem(known) == (409, "PURCHASE_EXISTS")
    assert "another title" in known.json()["detail"]
    eves = {**terms, "client": {**terms["client"], "id": "eve"}}
    guessed = await call(EVE).post("", eves)
    assert problem(guessed) == (409, "PURCHASE_EXISTS")
    assert "title" not in guessed.json()["detail"]
    assert "client" not in guessed.json()["detail"]


# --- who may see what


async def test_a_party_sees_only_their_own_purchases(
    server: WorkflowEnvironment, call: Call
) -> None:
    """Another's purchase and none at all are answered alike."""
    theirs = purchase_of(await held(server))
    for person in (EVE, NOBODY, ("freelancer", "eve")):
        caller = call(person)
        for path in ("", "/actions"):
            answers = [await caller.get(f"/{each}{path}") for each in (theirs, "never-bought")]
            assert [problem(each) for each in answers] == [(403, "FORBIDDEN")] * 2
            assert answers[0].content == answers[1].content
        answers = [await caller.post(f"/{each}/cancel") for each in (theirs, "never-bought")]
        assert [problem(each) for each in answers] == [(403, "FORBIDDEN")] * 2
        assert answers[0].content == answers[1].content
    assert (await call(ANA).get(f"/{theirs}")).status_code == 200


async def test_staff_see_every_purchase(server: WorkflowEnvironment, call: Call) -> None:
    known = purchase_of(await held(server))
    for person in (MEDIATOR, OPERATOR, ("payments", "sandbox")):
        assert (await call(person).get(f"/{known}")).status_code == 200
        assert problem(await call(person).get("/never-bought")) == (404, "NOT_FOUND")
        assert problem(await call(person).post("/never-bought/cancel")) == (404, "NOT_FOUND")


async def test_who_may_start(call: Call) -> None:
    """A client for themselves, and an operator for anybody."""
    terms = purchase().model_dump(mode="json")
    for person in (BO, EVE, MEDIATOR, ("payments", "sandbox")):
        assert problem(await call(person).post("", terms)) == (403, "FORBIDDEN")
    assert (await call(OPERATOR).post("", terms)).status_code == 200


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"price": {"amount": 0, "currency": "USD"}}, "/price/amount"),
        ({"price": {"amount": 100, "currency": "XXX"}}, "/price/currency"),
        ({"price": {"amount": 10_001, "currency": "KWD"}}, "/price/amount"),
        ({"policy": {"calendar": "nowhere"}}, "/policy"),
        ({"title": "two\nlines"}, "/title"),
        ({"purchased_at": "yesterday"}, "/purchased_at"),
        ({"surprise": 1}, "/surprise"),
    ],
)
async def test_a_start_that_cannot_be_right_is_rejected_with_its_field(
    call: Call, changed: dict[str, Any], where: str
) -> None:
    terms = purchase().model_dump(mode="json") | changed
    answer = await call(ANA).post("", terms)
    assert [each[: len(where)] for each in pointers(answer)] == [where]
    assert problem(await call(OPERATOR).get(f"/{terms['purchase_id']}")) == (404, "NOT_FOUND")


async def test_an_unknown_zone_is_named(call: Call) -> None:
    terms = purchase().model_dump(mode="json")
    terms["client"]["timezone"] = "Mars/Olympus"
    assert pointers(await call(ANA).post("", terms)) == ["/client/timezone"]


# --- lists


async def test_a_list_comes_in_pages_and_shows_parties_their_own(
    server: WorkflowEnvironment, call: Call
) -> None:
    """The newest first, each once."""
    people = {"client": {"id": "lena", "name": "Lena", "email": "lena@example.com"}}
    ids = [purchase_of(await held(server, **people)) for _ in range(5)]
    lena = call(("client", "lena"))
    found: list[str] = []
    while found != ids[::-1]:
        found, following = [], ""
        while following is not None:
            page = (await lena.get("", page_size=2, page_token=following)).json()
            assert len(page["purchases"]) <= 2
            assert {each["client"] for each in page["purchases"]} <= {"lena"}
            found += [each["purchase_id"] for each in page["purchases"]]
            following = page["next_page_token"]
    staffs = (await call(OPERATOR).get("", client="lena", stage="awaiting_requirements")).json()
    assert [each["purchase_id"] for each in staffs["purchases"]] == found
    assert (await call(OPERATOR).get("", client="lena", needs_attention="true")).json() == {
        "purchases": [],
        "next_page_token": None,
    }
    assert problem(await call(ANA).get("", client="lena")) == (403, "FORBIDDEN")
    assert (await call(ANA).get("", client="ana", freelancer="x")).json()["purchases"] == []


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"page_size": 0}, "/page_size"),
        ({"page_size": 101}, "/page_size"),
        ({"page_size": "many"}, "/page_size"),
        ({"page_token": "ü"}, "/page_token"),
        ({"stage": "somewhere"}, "/stage"),
        ({"needs_attention": "perhaps"}, "/needs_attention"),
        ({"client": "a b"}, "/client"),
        ({"buyer": "ana"}, "/buyer"),
    ],
)
async def test_an_invalid_filter_is_named(call: Call, query: dict[str, Any], where: str) -> None:
    answer = await call(OPERATOR).get("", **query)
    assert pointers(answer) == [where]
    assert "Input should" not in answer.json()["detail"]  # pydantic's own text


async def test_a_forged_page_token_is_invalid(call: Call) -> None:
    assert pointers(await call(OPERATOR).get("", page_token="Zm9yZ2Vk")) == ["/page_token"]


# --- paths and failures


async def test_an_id_may_contain_what_a_path_must_encode(
    server: WorkflowEnvironment, call: Call
) -> None:
    """Not confused with a path of ours."""
    await held(server, purchase_id="a/actions?b=ü%2F")
    found = await call(ANA).get("/a%2Factions%3Fb%3D%C3%BC%252F")
    assert found.json()["purchase_id"] == "a/actions?b=ü%2F"


async def test_unknown_paths_messages_and_methods_are_problems(
    server: WorkflowEnvironment, call: Call
) -> None:
    known = await _one(server)
    assert problem(await call(ANA).post(f"/{known}/explode")) == (404, "UNKNOWN_MESSAGE")
    assert problem(await call(ANA).get(f"/{known}/cancel"))[0] == 405
    assert problem(await call(ANA).send("DELETE", f"/{known}"))[0] == 405
    assert problem(await call(ANA).get(f"/{known}/a/b"))[0] == 404
    assert problem(await call(ANA).get(f"/{'x' * 65}")) == (404, "NOT_FOUND")
    assert problem(await call(ANA).get("/a%20b")) == (404, "NOT_FOUND")


async def test_a_closed_purchase_takes_no_message(server: WorkflowEnvironment, call: Call) -> None:
    handle = await held(server)
    path = f"/{purchase_of(handle)}"
    await call(BO).post(f"{path}/give_refund")
    await until(handle, lambda found: found.stage in ("settling", "closed"))
    answer = await call(BO).post(f"{path}/give_refund")
    assert problem(answer)[0] == 409


async def test_without_a_worker_or_a_server_the_answer_is_503(
    bare_server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says when to try again. What needs no worker is answered."""
    monkeypatch.setattr(purchases, "ANSWER_WITHIN", timedelta(seconds=1))
    terms = purchase()
    await Purchase(bare_server.client, terms.purchase_id).start(terms)
    settings = WorkroomSettings.from_environment(ENVIRONMENT)
    with serving(workroom(bare_server.client, settings)) as url:
        ana = Caller(url, token(*ANA))
        for answer in (
            await ana.get(f"/{terms.purchase_id}"),
            await ana.post(f"/{terms.purchase_id}/cancel"),
        ):
            assert problem(answer) == (503, "NO_WORKER")
            assert answer.json()["detail"].startswith("Nothing answers now. Try again soon")
            assert answer.headers["retry-after"] == "5"
        assert (await ana.get("")).status_code == 200
        assert (await Caller(url, token(*EVE)).get(f"/{terms.purchase_id}")).status_code == 403


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RPCError("gone", RPCStatusCode.UNAVAILABLE, b""), (503, "SERVER_UNREACHABLE")),
        (Undecipherable("key k9"), (503, "WRONG_SETTING")),
        (RuntimeError("secret detail"), (500, "INTERNAL_ERROR")),
    ],
)
async def test_a_failure_of_ours_shows_no_detail(
    url: str,
    server: WorkflowEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    expected: tuple[int, str],
) -> None:
    """Neither in the API nor on a page."""
    handle = await held(server)

    async def fails(_: Purchase, *__: object) -> Status:
        raise error

    ana = await signed_in(url, "client", "ana", handle)
    for look in ("status", "open_view"):
        monkeypatch.setattr(Purchase, look, fails)
    answer = await Caller(url, token(*ANA)).get(f"/{purchase_of(handle)}")
    assert problem(answer) == expected
    ana.browser.headers["Accept"] = "text/html"
    page = (await ana.open(f"/purchases/{purchase_of(handle)}")).page
    assert page.status_code == expected[0]
    assert "problem" not in page.headers["content-type"]
    for text in (answer.text, page.text):
        assert "secret detail" not in text
        assert "Traceback" not in text


# --- the document


def _resolved(document: Any, schema: Any) -> Any:
    return {**schema, "components": document["components"]}


async def test_the_openapi_document_describes_every_path(url: str) -> None:
    """Without a token. Its schemas accept the samples without `by`, and nothing with `by`."""
    document = (await asyncio.to_thread(requests.get, f"{url}/api/openapi.json", timeout=5)).json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    messages = {path.rsplit("/", 1)[1] for path in paths} - {"purchases", "{id}", "actions"}
    assert messages == set(MESSAGES)
    for name, kind in MESSAGES.items():
        body = paths[f"/api/purchases/{{id}}/{name}"]["post"]["requestBody"]
        schema = _resolved(document, body["content"]["application/json"]["schema"])
        jsonschema.Draft202012Validator.check_schema(schema)
        sample = {key: value for key, value in SAMPLES[name].items() if key != "by"}
        jsonschema.validate(sample, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**sample, "by": SAMPLES[name]["by"]}, schema)
        assert issubclass(kind, Message)


async def test_the_openapi_document_says_what_every_field_and_parameter_means(url: str) -> None:
    document = (await asyncio.to_thread(requests.get, f"{url}/api/openapi.json", timeout=5)).json()
    found = {
        f"{name}.{field}": value.get("description", "")
        for name, part in _models(document["components"]["schemas"], "")
        for field, value in part["properties"].items()
    }
    for path, operations in document["paths"].items():
        for part in (operations, *(operations.get(each, {}) for each in ("get", "post"))):
            for parameter in part.get("parameters", ()):
                found[f"{path}?{parameter['name']}"] = parameter.get("description", "")
    assert {"Listed.terms", "Problem.errors.items.pointer", "/api/purchases?page_size"} <= set(
        found
    )
    assert [where for where, text in found.items() if len(text) < 10] == []


def _models(part: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a schema that names its fields, and where it is."""
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict):
            yield where, part
        for name, inner in part.items():
            shown = where if name == "properties" else f"{where}.{name}".removeprefix(".")
            yield from _models(inner, shown)


async def test_the_openapi_document_describes_the_answers(
    url: str, server: WorkflowEnvironment, call: Call
) -> None:
    """A status, a list and a problem fit their schemas, and every reference leads somewhere."""
    document = (await asyncio.to_thread(requests.get, f"{url}/api/openapi.json", timeout=5)).json()
    path = f"/{await _one(server)}"
    references = set(json.dumps(document).split('"$ref": "')[1:])
    named = {each.split('"')[0].removeprefix("#/components/schemas/") for each in references}
    assert named <= set(document["components"]["schemas"])
    for kind, answer in (
        ("Status", await call(ANA).get(path)),
        ("Page", await call(ANA).get("")),
        ("Problem", await call(EVE).get(path)),
    ):
        schema = _resolved(document, {"$ref": f"#/components/schemas/{kind}"})
        validator_of(schema).validate(answer.json())
