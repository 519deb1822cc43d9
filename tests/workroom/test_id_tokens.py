"""Invalid answers of an OpenID Connect provider: they open no session."""

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from activities.services import WrongSetting
from temporal.errors import Unreachable
from tests.stripe.serving import serving
from tests.workroom.callers import SECRET
from workflows.messages import Role
from workroom.oidc import Attempt, OidcSettings, OpenIdProvider, SignInFailed
from workroom.settings import WorkroomSettings

OURS, THEIRS = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
ATTEMPT = Attempt.new("/")
ANSWER = {"code": "a-code", "state": ATTEMPT.state}


class Provider:
    """A provider that returns a given id token."""

    def __init__(self) -> None:
        self.token: Any = None
        self.metadata: dict[str, Any] = {}
        self.url = ""

    @property
    def app(self) -> Starlette:
        """Its metadata, keys and token endpoint."""
        key = {**RSAAlgorithm.to_jwk(OURS.public_key(), as_dict=True), "kid": "k1"}
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/keys", lambda _: JSONResponse({"keys": [key]})),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def _configuration(self, _: Request) -> JSONResponse:
        paths = {
            "authorization_endpoint": "/authorize",
            "token_endpoint": "/token",
            "jwks_uri": "/keys",
        }
        found = {name: f"{self.url}{path}" for name, path in paths.items()}
        return JSONResponse({"issuer": self.url, **found, **self.metadata})

    async def _token(self, request: Request) -> JSONResponse:
        form = (await request.body()).decode()
        assert f"code_verifier={ATTEMPT.verifier}" in form
        return JSONResponse({"access_token": "a", "token_type": "bearer", "id_token": self.token})

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims of a good id token; None leaves one out."""
        now = int(time.time())
        good = {
            "iss": self.url,
            "sub": "ana",
            "aud": "workroom",
            "iat": now,
            "exp": now + 60,
            "nonce": ATTEMPT.nonce,
            **changed,
        }
        return {name: value for name, value in good.items() if value is not None}


@pytest.fixture
def fake() -> Iterator[Provider]:
    """A provider that may lie."""
    fake = Provider()
    with serving(fake.app) as url:
        fake.url = url
        yield fake


def client_of(fake: Provider) -> OpenIdProvider:
    """What the workroom has of it."""
    settings = OidcSettings(fake.url, "workroom", client_secret="a-secret")
    return OpenIdProvider(settings, "http://127.0.0.1/signed-in")


def signed(claims: dict[str, Any]) -> str:
    """An id token signed with the provider's key."""
    return jwt.encode(claims, OURS, "RS256", headers={"kid": "k1"})


async def test_a_good_token_names_the_person_and_the_roles(fake: Provider) -> None:
    fake.token = signed(fake.claims())
    both = await client_of(fake).senders(ATTEMPT, ANSWER)
    assert [(each.id, each.role) for each in both] == [
        ("ana", Role.CLIENT),
        ("ana", Role.FREELANCER),
    ]
    fake.token = signed(fake.claims(roles=["mediator", "payments", "admin"]))
    (mediator,) = await client_of(fake).senders(ATTEMPT, ANSWER)
    assert mediator.role is Role.MEDIATOR


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["workroom", "another"]},
        {"azp": "another"},
        {"iss": "https://another.example"},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"sub": "not an id\n"},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_claim_signs_nobody_in(
    fake: Provider, changed: dict[str, Any]
) -> None:
    fake.token = signed(fake.claims(**changed))
    with pytest.raises(SignInFailed):
        await client_of(fake).senders(ATTEMPT, ANSWER)


async def test_a_token_that_the_provider_has_not_signed_signs_nobody_in(fake: Provider) -> None:
    claims = fake.claims()
    forged = (
        jwt.encode(claims, THEIRS, "RS256", headers={"kid": "k1"}),
        jwt.encode(claims, "", "none", headers={"kid": "k1"}),
        jwt.encode(claims, "a-secret" * 8, "HS256", headers={"kid": "k1"}),
        jwt.encode(claims, OURS, "RS256", headers={"kid": "k2"}),
        "no token",
        None,
    )
    for token in forged:
        fake.token = token
        with pytest.raises(SignInFailed):
            await client_of(fake).senders(ATTEMPT, ANSWER)


@pytest.mark.parametrize(
    "answer",
    [
        {**ANSWER, "state": "another"},
        {"code": "a-code"},
        {"state": ATTEMPT.state},
        {"state": ATTEMPT.state, "error": "access_denied"},
        {**ANSWER, "iss": "https://another.example"},
    ],
    ids=["another state", "no state", "no code", "refused", "another provider"],
)
async def test_an_answer_to_another_request_signs_nobody_in(
    fake: Provider, answer: dict[str, str]
) -> None:
    fake.token = signed(fake.claims())
    with pytest.raises(SignInFailed):
        await client_of(fake).senders(ATTEMPT, answer)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://another.example"},
        {"token_endpoint": "http://provider.example/token"},
        {"jwks_uri": None},
    ],
    ids=str,
)
async def test_metadata_that_cannot_be_trusted_are_not_used(
    fake: Provider, metadata: dict[str, Any]
) -> None:
    fake.metadata = metadata
    with pytest.raises(Unreachable):
        await client_of(fake).sign_in_url(ATTEMPT)


@pytest.mark.parametrize(
    "changed",
    [
        {"RECOURSE_OIDC_CLIENT_ID": ""},
        {"RECOURSE_OIDC_ISSUER": "http://provider.example"},
        {"RECOURSE_LINK_KEYS": "", "RECOURSE_API_SECRET": SECRET},
    ],
    ids=str,
)
def test_settings_that_are_not_safe_are_named(changed: dict[str, str]) -> None:
    good = {
        "RECOURSE_OIDC_ISSUER": "https://provider.example",
        "RECOURSE_OIDC_CLIENT_ID": "workroom",
        "RECOURSE_LINK_KEYS": f"k1:{SECRET}",
    }
    assert WorkroomSettings.from_environment(good).oidc
    with pytest.raises(WrongSetting):
        WorkroomSettings.from_environment({**good, **changed})
