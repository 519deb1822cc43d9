"""The settings of the workroom, from the environment.

- `RECOURSE_WORKROOM`: `host:port` to listen on, `127.0.0.1:8091` by default.
- `RECOURSE_API_JWKS_URL` or `RECOURSE_API_SECRET` (HS256, 32 bytes or more): the keys of the HTTP
  API's bearer tokens. `RECOURSE_API_AUDIENCE`: their `aud`, `recourse` by default.
- `RECOURSE_LINK_KEYS`: `id:key`,…, the newest first: signs links and sessions.
- `RECOURSE_BASE_URL`: where people reach the workroom.
- `RECOURSE_OIDC_ISSUER`, `RECOURSE_OIDC_CLIENT_ID`, `RECOURSE_OIDC_CLIENT_SECRET`,
  `RECOURSE_OIDC_SCOPE`, `RECOURSE_OIDC_ID_CLAIM`, `RECOURSE_OIDC_ROLES_CLAIM`: signing in at an
  OpenID Connect provider.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from activities.links import LINK_KEYS, LinkKeys
from activities.services import WrongSetting
from workroom.oidc import OidcSettings
from workroom.tokens import Jwks, SharedSecret, Tokens, is_safe

ADDRESS = "127.0.0.1:8091"
AUDIENCE = "recourse"
SHORTEST_SECRET = 32
"""Bytes: as many as the digest of HS256 has (RFC 7518, 3.2)."""


@dataclass(frozen=True)
class WorkroomSettings:
    """Where the workroom listens, and whose credentials it accepts. Without `tokens` there is no
    HTTP API, without `links` there are no pages."""

    host: str
    port: int
    tokens: Tokens | None = field(repr=False)
    links: LinkKeys | None = field(repr=False)
    base_url: str
    oidc: OidcSettings | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "WorkroomSettings":
        """Raises WrongSetting."""
        address = environment.get("RECOURSE_WORKROOM") or ADDRESS
        host, _, port = address.rpartition(":")
        if not (host and port.isdecimal() and int(port) < 65_536):
            raise WrongSetting(f"RECOURSE_WORKROOM is {address!r}; give host:port: {ADDRESS}.")
        base_url = (environment.get("RECOURSE_BASE_URL") or f"http://{address}").rstrip("/")
        found = cls(
            host.strip("[]"),
            int(port),
            _tokens(environment),
            _links(environment),
            base_url,
            _oidc(environment),
        )
        if not (found.tokens or found.links):
            raise WrongSetting(
                "The workroom has no keys. Set RECOURSE_API_SECRET or RECOURSE_API_JWKS_URL for "
                f"the HTTP API, and {LINK_KEYS} for the pages."
            )
        if found.oidc and not found.links:
            raise WrongSetting(f"RECOURSE_OIDC_ISSUER needs {LINK_KEYS}: it signs the sessions.")
        return found


def _links(environment: Mapping[str, str]) -> LinkKeys | None:
    setting = environment.get(LINK_KEYS)
    try:
        return LinkKeys.parse(setting) if setting else None
    except ValueError as error:
        raise WrongSetting(str(error)) from None


def _oidc(environment: Mapping[str, str]) -> OidcSettings | None:
    names = ("issuer", "client_id", "client_secret", "scope", "id_claim", "roles_claim")
    given = {
        name: environment[variable]
        for name in names
        if environment.get(variable := f"RECOURSE_OIDC_{name.upper()}")
    }
    if not given:
        return None
    if not (given.get("issuer") and given.get("client_id")):
        raise WrongSetting("Set RECOURSE_OIDC_ISSUER and RECOURSE_OIDC_CLIENT_ID, both.")
    if not is_safe(given["issuer"]):
        raise WrongSetting("RECOURSE_OIDC_ISSUER must begin with https://.")
    return OidcSettings(**given)


def _tokens(environment: Mapping[str, str]) -> Tokens | None:
    url, secret = environment.get("RECOURSE_API_JWKS_URL"), environment.get("RECOURSE_API_SECRET")
    audience = environment.get("RECOURSE_API_AUDIENCE") or AUDIENCE
    if url and secret:
        raise WrongSetting("Set RECOURSE_API_JWKS_URL or RECOURSE_API_SECRET, not both.")
    if url:
        if not is_safe(url):
            raise WrongSetting(
                "RECOURSE_API_JWKS_URL must begin with https://: who can change the keys on their "
                "way can forge every token."
            )
        return Tokens(Jwks(url), audience)
    if secret:
        if len(secret.encode()) < SHORTEST_SECRET:
            raise WrongSetting(
                f"RECOURSE_API_SECRET must have {SHORTEST_SECRET} bytes or more; a shorter one can "
                "be guessed from a token."
            )
        return Tokens(SharedSecret(secret), audience)
    return None
