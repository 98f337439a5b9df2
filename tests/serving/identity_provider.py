"""A small OpenID Connect provider with keys of its own, which can be told to lie."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


class Lying:
    """What it answers; `claims` and `key` can be changed to what they must not be."""

    def __init__(self) -> None:
        self.issuer = ""
        self.kid, self.signing = "1", new_key()
        self.shown = {self.kid: self.signing}
        self.claims: dict[str, Any] = {}
        self.algorithm, self.away, self.stays_silent = "RS256", False, threading.Event()
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    def rotate(self) -> None:
        """Sign with a new key, which is shown instead of the old one."""
        self.kid, self.signing = f"{self.kid}+", new_key()
        self.shown = {self.kid: self.signing}

    def authorize(self, url: str) -> str:
        """Return where the browser is sent back to when the person has signed in."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def token(self, form: dict[str, list[str]], basic: str) -> dict[str, Any] | None:
        asked = self.codes.pop(form["code"][0], None)  # a code counts once
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return None
        assert base64.b64decode(basic.removeprefix("Basic ")) == b"wetread:s3cret"
        assert form["redirect_uri"] == [asked["redirect_uri"]]
        return {"id_token": self.signed(asked["nonce"]), "token_type": "Bearer"}

    def signed(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": "42", "aud": "wetread", "iat": now, "exp": now + 300,
            "nonce": nonce, "preferred_username": "lin", "groups": {"ai": ["radiologists"]},
        }  # fmt: skip
        return self._signed({**claims, **self.claims})

    def logout_token(self, **changed: Any) -> str:
        """A logout token; what is changed to None is left out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer, "sub": "42", "aud": "wetread", "iat": now, "exp": now + 120,
            "jti": f"{len(self.asked)}-{now}-{id(changed)}", "events": {LOGOUT: {}}, **changed,
        }  # fmt: skip
        return self._signed(claims)

    def _signed(self, claims: dict[str, Any]) -> str:
        told = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm == "none":
            return jwt.encode(told, None, algorithm="none")
        key: Any = self.signing
        if self.algorithm == "HS256":
            key = "what-an-attacker-could-know-as-well-as-we"
        return jwt.encode(told, key, algorithm=self.algorithm, headers={"kid": self.kid})

    def answer(self, path: str, form: dict[str, list[str]], basic: str) -> dict[str, Any] | None:
        self.asked.append(path)
        match path:
            case "/.well-known/openid-configuration":
                return {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                    "end_session_endpoint": f"{self.issuer}/end",
                    "code_challenge_methods_supported": ["S256"],
                }
            case "/keys":
                turn = jwt.algorithms.RSAAlgorithm.to_jwk
                keys = [
                    {**turn(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
                    for kid, key in self.shown.items()
                ]
                return {"keys": keys}
            case "/token":
                return self.token(form, basic)
            case _:
                return None


def new_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@contextmanager
def running() -> Iterator[Lying]:
    """Give a provider on a free port of loopback."""
    lying = Lying()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if lying.away:
                lying.stays_silent.wait(60)
            length = int(self.headers.get("Content-Length", 0))
            form = parse_qs(self.rfile.read(length).decode())
            path = urlsplit(self.path).path
            found = lying.answer(path, form, self.headers.get("Authorization", ""))
            body = json.dumps(found or {"error": "invalid_grant"}).encode()
            self.send_response(200 if found else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    lying.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield lying
    lying.stays_silent.set()
    server.shutdown()
    thread.join(30)
    server.server_close()
