"""Tokens that must not pass: each entry of FORGERIES makes one from a good one, or from nothing."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Forge:
    """What a forger may have: a good token, the public key, and, to try each check alone, the real private key."""

    good: str
    private: Ed25519PrivateKey

    @property
    def header(self) -> dict[str, Any]:
        return json.loads(unpack(self.good.split(".")[0]))

    @property
    def claims(self) -> dict[str, Any]:
        return json.loads(unpack(self.good.split(".")[1]))

    @property
    def public_raw(self) -> bytes:
        return self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def signed(self, *, header: dict[str, Any] | None = None, claims: object = None, key: object = None) -> str:
        """A token with a right signature of our own key (or `key`) over whatever it is made to say."""
        text = unsigned(self.header | (header or {}), self.claims if claims is None else claims)
        private = key or self.private
        assert isinstance(private, Ed25519PrivateKey)
        return f"{text}.{pack(private.sign(text.encode()))}"

    def without(self, claim: str) -> str:
        return self.signed(claims={name: value for name, value in self.claims.items() if name != claim})

    def saying(self, **claims: object) -> str:
        return self.signed(claims=self.claims | claims)

    def hmac(self, secret: bytes) -> str:
        text = unsigned(self.header | {"alg": "HS256"}, self.claims)
        return f"{text}.{pack(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    def edited(self, **claims: object) -> str:
        """The good signature under other claims."""
        _, _, signature = self.good.split(".")
        return f"{unsigned(self.header, self.claims | claims)}.{signature}"


def pack(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unpack(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def unsigned(header: dict[str, Any], claims: object) -> str:
    return f"{pack(json.dumps(header).encode())}.{pack(json.dumps(claims).encode())}"


def _rs256(forge: Forge) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = unsigned(forge.header | {"alg": "RS256"}, forge.claims)
    return f"{text}.{pack(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _own_jwk(forge: Forge) -> str:
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return forge.signed(header={"jwk": {"kty": "OKP", "crv": "Ed25519", "x": pack(raw)}}, key=key)


def _bit_flipped(forge: Forge) -> str:
    head, claims, signature = forge.good.split(".")
    raw = bytearray(unpack(signature))
    raw[10] ^= 1
    return f"{head}.{claims}.{pack(bytes(raw))}"


def _same_bytes_spelt_otherwise(forge: Forge) -> str:
    """64 bytes in base64 leave four bits over; a lax decoder ignores them."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return forge.good[:-1] + alphabet[alphabet.index(forge.good[-1]) + 1]


def _header_twice(forge: Forge) -> str:
    head = pack(b'{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt","kid":"' + forge.header["kid"].encode() + b'"}')
    text = f"{head}.{forge.good.split('.')[1]}"
    return f"{text}.{pack(forge.private.sign(text.encode()))}"


CLAIMS = ("iss", "aud", "sub", "client_id", "tenant", "role", "scope", "sites", "gen", "jti", "iat", "nbf", "exp")
HOUR = 3600

FORGERIES: dict[str, Callable[[Forge], str]] = {
    "empty": lambda _: "x",
    "not a token": lambda _: "a.b.c",
    "two parts": lambda f: f.good.rpartition(".")[0],
    "five parts, as of a JWE": lambda f: f"{f.good}.x.y",
    "alg none": lambda f: unsigned(f.header | {"alg": "none"}, f.claims) + ".",
    "alg none with the old signature": lambda f: f"{unsigned(f.header | {'alg': 'none'}, f.claims)}.{f.good[-86:]}",
    "alg NONE": lambda f: unsigned(f.header | {"alg": "NONE"}, f.claims) + ".",
    "HS256 with the public key, PEM": lambda f: f.hmac(f.public_pem),
    "HS256 with the public key, raw": lambda f: f.hmac(f.public_raw),
    "HS256 with nothing": lambda f: f.hmac(b""),
    "RS256 with a key of his own": _rs256,
    "ES256 named, EdDSA signed": lambda f: f.signed(header={"alg": "ES256"}),
    "Ed25519 named, a name we do not use": lambda f: f.signed(header={"alg": "Ed25519"}),
    "no alg": lambda f: f.signed(header={"alg": None}),
    "signed with a key of his own": lambda f: f.signed(key=Ed25519PrivateKey.generate()),
    "own key in the header (jwk)": _own_jwk,
    "key by address (jku)": lambda f: f.signed(header={"jku": "https://evil.example/jwks.json"}),
    "certificate by address (x5u)": lambda f: f.signed(header={"x5u": "https://evil.example/x.pem"}),
    "certificate in the header (x5c)": lambda f: f.signed(header={"x5c": ["MIIB"]}),
    "critical extension (crit)": lambda f: f.signed(header={"crit": ["b64"], "b64": False}),
    "unencoded payload (b64)": lambda f: f.signed(header={"b64": False}),
    "compressed (zip)": lambda f: f.signed(header={"zip": "DEF"}),
    "typ JWT": lambda f: f.signed(header={"typ": "JWT"}),
    "a header name twice": _header_twice,
    "unknown kid": lambda f: f.signed(header={"kid": "20200101T000000Z-AAAAAAAA"}),
    "kid that climbs": lambda f: f.signed(header={"kid": "../../../../etc/passwd"}),
    "kid of a file that is there": lambda f: f.signed(header={"kid": f"../keys/{f.header['kid']}"}),
    "kid with NUL": lambda f: f.signed(header={"kid": f.header["kid"] + "\0"}),
    "kid that is SQL": lambda f: f.signed(header={"kid": "' OR 1=1 --"}),
    "kid that is a number": lambda f: f.signed(header={"kid": 1}),
    "no kid": lambda f: f.signed(header={"kid": None}),
    **{f"no {name}": partial(Forge.without, claim=name) for name in CLAIMS},
    "wrong issuer": lambda f: f.saying(iss="https://evil.example"),
    "wrong audience": lambda f: f.saying(aud="somebody-else"),
    "several audiences": lambda f: f.saying(aud=["milkrun", "somebody-else"]),
    "expired": lambda f: f.saying(exp=f.claims["iat"] - 11),
    "expiry that is text": lambda f: f.saying(exp=str(f.claims["exp"])),
    "expiry that is no number": lambda f: f.saying(exp=float("nan")),
    "not before in an hour": lambda f: f.saying(nbf=f.claims["nbf"] + HOUR),
    "issued in an hour": lambda f: f.saying(iat=f.claims["iat"] + HOUR),
    "another tenant, claim edited": lambda f: f.edited(tenant="zeta"),
    "operator, claim edited": lambda f: f.edited(tenant=None, role="operator"),
    "more scopes, claim edited": lambda f: f.edited(scope="users:write"),
    "another tenant, rightly signed": lambda f: f.saying(tenant="zeta"),
    "no tenant, rightly signed": lambda f: f.saying(tenant=None, role="operator"),
    "a client that never was": lambda f: f.saying(sub="cli_nobody", client_id="cli_nobody"),
    "another generation": lambda f: f.saying(gen=f.claims["gen"] + 1),
    "generation as a truth": lambda f: f.saying(gen=True),
    "scope that is not": lambda f: f.saying(scope="everything:write"),
    "role that is not": lambda f: f.saying(role="emperor"),
    "a claim more": lambda f: f.saying(admin=True),
    "claims that are a list": lambda f: f.signed(claims=[1]),
    "signature cut": lambda f: f.good[:-4],
    "signature missing": lambda f: f.good.rpartition(".")[0] + ".",
    "signature altered": _bit_flipped,
    "signature spelt otherwise": _same_bytes_spelt_otherwise,
    "signature all zero": lambda f: f.good[:-86] + "A" * 86,
    "a space inside": lambda f: f.good.replace(".", ". ", 1),
    "padded": lambda f: f.good + "==",
    "huge": lambda f: f.saying(scope="devices:read " * 2000),
}
