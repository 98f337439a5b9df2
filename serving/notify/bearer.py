"""The token that a FHIR server is shown: a given one, or one fetched for each message.

Fetched by client credentials (RFC 6749 4.4), with a secret, or with a signed assertion as SMART
Backend Services has it. None is kept: nothing can be stale, and messages are few.
"""

import base64
import json
import time
import uuid
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from dicom_node.scu import Timeouts
from imaging.errors import SetupError
from serving.notify.post import Answer, post
from serving.notify.target import Target
from serving.notify.told import Told

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFE_S = 300  # at most, for SMART
_MOST_WORDS = 1000


def bearer(target: Target, *, timeouts: Timeouts) -> str | Told:
    """Return the token, empty where none is wanted, or why there is none now.

    Raises
    ------
    SetupError
        The secret or key cannot be used.
    """
    secret = "" if target.key_file else _plain(target.current_secret(), target.name)
    if not target.token_url:
        return secret
    form = {"grant_type": "client_credentials"}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if target.scope:
        form["scope"] = target.scope
    if target.key_file:
        form |= {"client_assertion_type": _ASSERTION, "client_assertion": _assertion(target)}
    else:
        pair = f"{quote_plus(target.client_id)}:{quote_plus(secret)}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    body, url = urlencode(form).encode(), target.token_url
    return _token(post(url, body, headers, context=target.tls_context(), timeouts=timeouts))


def _plain(secret: str, name: str) -> str:
    if not (secret.isascii() and secret.isprintable()):
        msg = f"the secret of {name} holds characters that no header may have"
        raise SetupError(msg)
    return secret


def _assertion(target: Target) -> str:
    assert target.key_file
    now = int(time.time())
    claims = {
        "iss": target.client_id,
        "sub": target.client_id,
        "aud": target.token_url,
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + _LIFE_S,
    }
    headers = {"kid": target.key_id} if target.key_id else None
    try:
        return _signed(claims, target.key_file, headers)
    except (OSError, ValueError, TypeError, jwt.PyJWTError) as error:
        msg = f"the key of {target.name} cannot be used: {error}"
        raise SetupError(msg) from error


def _signed(claims: dict[str, object], file: Path, headers: dict[str, str] | None) -> str:
    key = load_pem_private_key(file.read_bytes(), password=None)
    algorithm = "ES384" if isinstance(key, EllipticCurvePrivateKey) else "RS384"
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]


def _token(answer: Answer) -> str | Told:
    """Return a token; whatever else is said is about us or about now, never about the message."""
    try:
        said = json.loads(answer.body)
        token, why = said.get("access_token"), said.get("error_description") or said.get("error")
    except (ValueError, AttributeError, RecursionError):
        token, why = None, ""
    if answer.told.verdict == "delivered" and isinstance(token, str) and token.isascii():
        return token
    code = f"token {answer.told.answer}" if answer.status else ""
    words = f"no token: {why or answer.told.words or 'the answer holds none'}"[:_MOST_WORDS]
    return replace(answer.told, verdict="waiting", answer=code, words=words)
