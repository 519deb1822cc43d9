"""Bearer tokens: each forgery is answered with 401, and says nothing about a purchase."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from temporalio.testing import WorkflowEnvironment

from activities.services import WrongSetting
from temporal.errors import Unreachable
from tests.stripe.serving import serving
from tests.workroom.callers import ANA, AUDIENCE, OPERATOR, SECRET, Caller, claims, problem, token
from workflows.messages import Sender
from workroom.settings import WorkroomSettings
from workroom.tokens import FETCHED_AGAIN_AFTER, FRESH_FOR, KEPT_FOR, Jwks, Tokens, Unauthorized


def encoded(value: Any) -> str:
    """A part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: dict[str, Any], body: Any, key: bytes) -> str:
    """A token made by hand, with a MAC under any bytes."""
    text = f"{encoded(header)}.{encoded(body)}"
    return f"{text}.{encoded(hmac.digest(key, text.encode(), hashlib.sha256))}"


HS256 = {"alg": "HS256", "typ": "JWT"}
GOOD = claims(*OPERATOR)
FORGED: dict[str, Callable[[], str]] = {
    "expired": lambda: token(*OPERATOR, exp=int(time.time()) - 60),
    "not yet valid": lambda: token(*OPERATOR, nbf=int(time.time()) + 600),
    "without exp": lambda: token(*OPERATOR, exp=None),
    "without aud": lambda: token(*OPERATOR, aud=None),
    "another aud": lambda: token(*OPERATOR, aud="somebody-else"),
    "without sub": lambda: token("operator", None),
    "without role": lambda: token(None, "operator-1"),
    "unknown role": lambda: token("admin", "operator-1"),
    "two roles": lambda: token(["client", "operator"], "operator-1"),
    "sub with a space": lambda: token("operator", "operator 1"),
    "empty sub": lambda: token("operator", ""),
    "sub is a number": lambda: signed(HS256, GOOD | {"sub": 7}, SECRET.encode()),
    "exp is a text": lambda: signed(HS256, GOOD | {"exp": "tomorrow"}, SECRET.encode()),
    "exp is infinite": lambda: signed(HS256, GOOD | {"exp": float("inf")}, SECRET.encode()),
    "claims are a list": lambda: signed(HS256, [GOOD], SECRET.encode()),
    "another key": lambda: jwt.encode(GOOD, "another-secret-of-thirty-two-bytes", "HS256"),
    "empty key": lambda: signed(HS256, GOOD, b""),
    "alg none": lambda: f"{encoded({'alg': 'none'})}.{encoded(GOOD)}.",
    "alg None": lambda: f"{encoded({'alg': 'None'})}.{encoded(GOOD)}.",
    "alg none with the MAC": lambda: signed({"alg": "none"}, GOOD, SECRET.encode()),
    "no alg": lambda: signed({"typ": "JWT"}, GOOD, SECRET.encode()),
    "alg HS512": lambda: jwt.encode(GOOD, SECRET * 2, "HS512"),
    "alg RS256 with a MAC": lambda: signed({"alg": "RS256"}, GOOD, SECRET.encode()),
    "unknown crit": lambda: signed(HS256 | {"crit": ["exp2"], "exp2": 1}, GOOD, SECRET.encode()),
    "own key in the header": lambda: signed(
        HS256 | {"jwk": {"kty": "oct", "k": encoded(b"x" * 32)}}, GOOD, b"x" * 32
    ),
    "edited claims": lambda: _edited(token(*ANA), {"role": "operator"}),
    "no signature": lambda: token(*OPERATOR).rpartition(".")[0] + ".",
    "nested header": lambda: f"{encoded(b'[' * 5_000)}.{encoded(GOOD)}.x",
    "no parts": lambda: "token",
    "too long": lambda: token(*OPERATOR, more="x" * 10_000),
}


def _edited(text: str, changed: dict[str, Any]) -> str:
    head, body, mac = text.split(".")
    known = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{head}.{encoded(known | changed)}.{mac}"


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_rejected(url: str, name: str) -> None:
    """Whichever way it was forged, and for a purchase that is there or not."""
    answer = await Caller(url, FORGED[name]()).get("/never-bought")
    assert problem(answer) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Bearer", "Bearer ", "Digest x"])
async def test_without_a_bearer_token_one_is_asked_for(url: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await Caller(url, None).send("POST", "/p-1/cancel", headers=headers, json={})
    assert problem(answer) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_good_token_is_accepted(url: str) -> None:
    """Also with several audiences, and a scheme in small letters."""
    for good in (token(*OPERATOR), token(*OPERATOR, aud=["other", AUDIENCE])):
        assert problem(await Caller(url, good).get("/never-bought")) == (404, "NOT_FOUND")
    small = {"Authorization": f"bearer {token(*OPERATOR)}"}
    assert (await Caller(url, None).send("GET", "/never-bought", headers=small)).status_code == 404


# --- a key set


@dataclass
class Issuer:
    """Publishes keys over HTTP and signs with one of them."""

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=list)
    fetched: int = 0
    answers: Response | None = None

    def publish(self, key: Any, name: str) -> None:
        """Add the public part of a key."""
        public = key.public_key()
        kind: Any = {
            rsa.RSAPublicKey: jwt.algorithms.RSAAlgorithm,
            ec.EllipticCurvePublicKey: jwt.algorithms.ECAlgorithm,
            ed25519.Ed25519PublicKey: jwt.algorithms.OKPAlgorithm,
        }
        algorithm = next(each for base, each in kind.items() if isinstance(public, base))
        self.keys.append({**algorithm.to_jwk(public, as_dict=True), "kid": name})

    async def respond(self, _: Request) -> Response:
        """The key set, or what a test wants instead."""
        self.fetched += 1
        return self.answers or JSONResponse({"keys": self.keys})


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    """A private key of an issuer."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issuer(rsa_key: rsa.RSAPrivateKey) -> Iterator[Issuer]:
    """An issuer that has published its key as `one`."""
    issuer = Issuer()
    issuer.publish(rsa_key, "one")
    with serving(Starlette(routes=[Route("/keys", issuer.respond)])) as url:
        issuer.url = f"{url}/keys"
        yield issuer


class Clock:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Of the key set."""
    return Clock()


@pytest.fixture
def tokens(issuer: Issuer, clock: Clock) -> Tokens:
    """What checks the issuer's tokens."""
    return Tokens(Jwks(issuer.url, clock), AUDIENCE)


def bearer(key: Any, algorithm: str = "RS256", name: str | None = "one") -> str:
    """A header with a token that is signed with this key."""
    headers = {"kid": name} if name else {}
    return f"Bearer {jwt.encode(claims(*OPERATOR), key, algorithm, headers=headers)}"


async def test_tokens_of_each_kind_of_published_key_are_accepted(
    issuer: Issuer, tokens: Tokens, rsa_key: rsa.RSAPrivateKey
) -> None:
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    issuer.publish(curve, "two")
    issuer.publish(edwards, "three")
    operator = Sender.model_validate({"role": "operator", "id": "operator-1"})
    assert await tokens.sender(bearer(rsa_key)) == operator
    assert await tokens.sender(bearer(curve, "ES256", "two")) == operator
    assert await tokens.sender(bearer(edwards, "EdDSA", "three")) == operator
    assert issuer.fetched == 1


async def test_a_public_key_is_never_used_as_a_secret(
    issuer: Issuer, tokens: Tokens, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Key confusion: HS256 under the bytes of the public key, in each form that they have."""
    public = rsa_key.public_key()
    forms = [
        public.public_bytes(encoding, form)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
        for form in (
            serialization.PublicFormat.SubjectPublicKeyInfo,
            serialization.PublicFormat.PKCS1,
        )
    ]
    forms += [json.dumps(issuer.keys[0]).encode(), b""]
    for form in forms:
        forged = signed(HS256 | {"kid": "one"}, claims(*OPERATOR), form)
        with pytest.raises(Unauthorized):
            await tokens.sender(f"Bearer {forged}")


async def test_a_published_secret_signs_nothing(issuer: Issuer, tokens: Tokens) -> None:
    """A symmetric key in a public key set is known to everybody."""
    secret = b"known to everybody who reads it."
    issuer.keys.append({"kty": "oct", "kid": "oct", "k": encoded(secret), "alg": "HS256"})
    with pytest.raises(Unauthorized):
        await tokens.sender(f"Bearer {signed(HS256 | {'kid': 'oct'}, claims(*OPERATOR), secret)}")


async def test_another_key_under_a_published_name_signs_nothing(tokens: Tokens) -> None:
    for key, algorithm in (
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
    ):
        with pytest.raises(Unauthorized):
            await tokens.sender(bearer(key, algorithm))


async def test_a_new_key_counts_at_once_and_a_withdrawn_one_soon_no_more(
    issuer: Issuer, tokens: Tokens, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    await tokens.sender(bearer(rsa_key))
    new = rsa.generate_private_key(65537, 2048)
    issuer.keys.clear()
    issuer.publish(new, "two")
    clock.now += FETCHED_AGAIN_AFTER.total_seconds() + 1
    await tokens.sender(bearer(new, name="two"))
    with pytest.raises(Unauthorized):
        await tokens.sender(bearer(rsa_key))
    await tokens.sender(bearer(new, name=None))
    issuer.keys.clear()
    issuer.publish(rsa_key, "three")
    clock.now += FRESH_FOR.total_seconds() + 1
    with pytest.raises(Unauthorized):
        await tokens.sender(bearer(new, name="two"))


async def test_tokens_with_unknown_keys_cause_no_more_fetches(
    issuer: Issuer, tokens: Tokens, rsa_key: rsa.RSAPrivateKey
) -> None:
    await tokens.sender(bearer(rsa_key))
    for number in range(50):
        with pytest.raises(Unauthorized):
            await tokens.sender(bearer(rsa_key, name=f"unknown-{number}"))
    assert issuer.fetched <= 2


async def test_an_issuer_that_fails_stops_nobody_for_an_hour(
    issuer: Issuer, tokens: Tokens, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Its keys are kept for so long; then the answer is 503, until it is there again."""
    await tokens.sender(bearer(rsa_key))
    issuer.answers = Response("broken", 500)
    clock.now += FRESH_FOR.total_seconds() + 1
    await tokens.sender(bearer(rsa_key))
    clock.now += KEPT_FOR.total_seconds()
    with pytest.raises(Unreachable):
        await tokens.sender(bearer(rsa_key))
    issuer.answers = None
    clock.now += FETCHED_AGAIN_AFTER.total_seconds() + 1
    await tokens.sender(bearer(rsa_key))


@pytest.mark.parametrize(
    "answer",
    [
        Response("no JSON"),
        Response("[" * 100_000),
        Response('{"keys": 7}'),
        Response('{"keys": []}'),
        Response("x" * 2_000_000),
        Response("gone", 410),
        RedirectResponse("http://127.0.0.1:9/keys"),
    ],
    ids=["text", "nested", "number", "none", "large", "gone", "redirect"],
)
async def test_what_is_no_key_set_gives_no_keys(
    issuer: Issuer, tokens: Tokens, rsa_key: rsa.RSAPrivateKey, answer: Response
) -> None:
    issuer.answers = answer
    with pytest.raises(Unreachable):
        await tokens.sender(bearer(rsa_key))


# --- settings


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RECOURSE_API_SECRET": "short"},  # pragma: allowlist secret
        {"RECOURSE_API_SECRET": SECRET, "RECOURSE_API_JWKS_URL": "https://id.example.com/keys"},
        {"RECOURSE_API_JWKS_URL": "http://id.example.com/keys"},
        {"RECOURSE_API_JWKS_URL": "file:///etc/keys"},
        {"RECOURSE_API_SECRET": SECRET, "RECOURSE_WORKROOM": "8090"},
        {"RECOURSE_API_SECRET": SECRET, "RECOURSE_WORKROOM": "127.0.0.1:99999"},
        {"RECOURSE_API_SECRET": SECRET, "RECOURSE_LINK_KEYS": "k1:short"},
        {"RECOURSE_API_SECRET": SECRET, "RECOURSE_LINK_KEYS": ","},
        {"RECOURSE_LINK_KEYS": f"k1:{SECRET},k1:{SECRET}"},
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(WrongSetting, match=r"RECOURSE_\w+"):
        WorkroomSettings.from_environment(environment)


def test_settings_show_no_secret(server: WorkflowEnvironment) -> None:
    found = WorkroomSettings.from_environment(
        {"RECOURSE_API_SECRET": SECRET, "RECOURSE_LINK_KEYS": f"k1:{SECRET}"}
    )
    assert SECRET not in repr(found)
    assert SECRET not in repr(found.tokens)
    assert SECRET not in repr(found.links)
