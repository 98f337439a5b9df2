"""``[sign_in]``: people sign in at an OpenID Connect provider of the hospital."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from imaging.errors import SetupError
from serving.people.origin import is_local_name
from serving.people.person import Role
from serving.sections import Section


class SignInSettings(Section):
    """``[sign_in]``: single sign-on. Relative names of files start at the settings file."""

    issuer: str = Field("", description="address of the OpenID Connect provider; empty for none")
    name: str = Field("", description="what the button on the sign-in page calls it")
    client_id: str = Field("", description="what it knows Wetread by")
    client_secret: str = Field("", repr=False, description="better as a variable or a file")
    client_secret_file: str = Field("", description="file with the secret, read at each sign-in")
    public_url: str = Field(
        "", description="how browsers reach Wetread; empty only on this machine"
    )
    scopes: tuple[str, ...] = Field(("openid", "profile"), description="what is asked for")
    name_claim: str = Field("preferred_username", description="claim with the name of a person")
    roles_claim: str = Field("roles", description="claim with roles or groups; dots lead inside")
    roles: dict[str, Role] = Field({}, description="its roles or groups, and ours")
    local_accounts: Literal["all", "administrators", "none"] = Field(
        "all", description="which accounts of Wetread may sign in by password"
    )
    timeout_s: float = Field(5.0, gt=0, description="longest wait for an answer of the provider")
    ca_file: str = Field("", description="PEM file: authorities of its certificate")

    @property
    def on(self) -> bool:
        """Whether there is a provider."""
        return bool(self.issuer)

    @property
    def secure(self) -> bool:
        """Whether browsers reach us over HTTPS."""
        return self.public_url.startswith("https://")

    @property
    def back_url(self) -> str:
        """Where the provider sends a browser back to: its redirect URI."""
        return f"{self.public_url}/sign-in/back"

    def secret(self) -> str:
        """Return the secret of the client, or nothing for a public one.

        Raises
        ------
        SetupError
            Its file cannot be read.
        """
        if not self.client_secret_file:
            return self.client_secret
        try:
            return Path(self.client_secret_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"[sign_in] client_secret_file cannot be read: {error}"
            raise SetupError(msg) from error

    @field_validator("issuer", "public_url")
    @classmethod
    def _safe(cls, url: str) -> str:
        if url and not is_safe(url):
            msg = f"{url!r} is no https address (http is for this machine only)"
            raise ValueError(msg)
        return url

    @field_validator("public_url")
    @classmethod
    def _bare(cls, url: str) -> str:
        if urlsplit(url).path not in {"", "/"} or urlsplit(url).query:
            msg = "public_url has no path: Wetread is served at the root of a host"
            raise ValueError(msg)
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_whole(self) -> "SignInSettings":
        if self.on and not (self.client_id and self.roles and "openid" in self.scopes):
            msg = "an issuer needs client_id, roles and the scope openid"
            raise ValueError(msg)
        if self.local_accounts != "all" and not self.on:
            msg = "local_accounts can only be restricted when there is an issuer"
            raise ValueError(msg)
        return self


def is_safe(url: str) -> bool:
    """Whether secrets may go to an address: it is HTTPS, or of this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_local_name(host))
    return safe and bool(host) and not (parts.username or parts.password or parts.fragment)
