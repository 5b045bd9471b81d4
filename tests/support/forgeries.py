"""Tokens that must open no door: each breaks one rule, most of them signed with the real key."""

import base64
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

STRANGER: Final = Ed25519PrivateKey.generate()
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
GONE: Final = object()
"""Instead of a value: leave the field out."""

Fields = Mapping[str, Any]


class Smith:
    """Makes tokens by hand, with the real key and without any of a library's checks."""

    def __init__(self, key: OKPKey, user_id: str, role: str = "admin") -> None:
        self._key = key
        private = key.private_key
        assert isinstance(private, Ed25519PrivateKey), "an Ed25519 key signs tokens"
        self._private = private
        self._user_id = user_id
        self._role = role

    def good(self) -> str:
        """A token that is as it should be."""
        return self.signed({}, {})

    def signed(self, header: Fields, claims: Fields, by: Ed25519PrivateKey | None = None) -> str:
        """A token with these fields instead of the usual ones, rightly signed over what it says."""
        return self.raw(_json(self.header(header)), _json(self.claims(claims)), by)

    def raw(self, header: bytes, payload: bytes, by: Ed25519PrivateKey | None = None) -> str:
        """A token of these bytes, rightly signed."""
        signing_input = _b64(header) + b"." + _b64(payload)
        return (signing_input + b"." + _b64((by or self._private).sign(signing_input))).decode()

    def header(self, changes: Fields) -> dict[str, Any]:
        """The usual header with changes."""
        return _changed({"alg": "EdDSA", "kid": self._key.kid, "typ": "at+jwt"}, changes)

    def claims(self, changes: Fields) -> dict[str, Any]:
        """The usual claims with changes."""
        now = int(time.time())
        usual = {
            "iss": "gateway",
            "aud": "platform",
            "sub": self._user_id,
            "roles": [self._role],
            "iat": now,
            "exp": now + 300,
            "jti": uuid4().hex,
        }
        return _changed(usual, changes)

    def public_jwk(self, private: Ed25519PrivateKey) -> dict[str, str]:
        """A stranger's key as a token may carry it."""
        return {"kty": "OKP", "crv": "Ed25519", "x": _b64(private.public_key().public_bytes_raw()).decode()}

    def shared(self, digest: str, secret: bytes) -> str:
        """A token signed symmetrically, as if the public key were a shared secret (RFC 8725, section 2.1)."""
        head, body = _b64(_json(self.header({"alg": f"HS{digest[3:]}"}))), _b64(_json(self.claims({})))
        return b".".join((head, body, _b64(hmac.digest(secret, head + b"." + body, digest)))).decode()


def forgeries(smith: Smith) -> dict[str, str]:
    """Every forgery by what is wrong with it."""
    found = dict(_forgeries(smith))
    assert smith.good() not in found.values(), "a forgery is no good token"
    return found


def _forgeries(smith: Smith) -> Iterator[tuple[str, str]]:
    yield from _algorithms(smith)
    yield from _headers(smith)
    yield from _claims(smith)
    yield from _signatures(smith)
    yield from _shapes(smith)


def _algorithms(smith: Smith) -> Iterator[tuple[str, str]]:
    unsigned = _b64(_json(smith.claims({}))).decode()
    for name in ("none", "None", "NONE", "nOnE", ""):
        head = _b64(_json(smith.header({"alg": name}))).decode()
        yield f"alg {name!r} without a signature", f"{head}.{unsigned}."
        yield f"alg {name!r} with a signature", smith.signed({"alg": name}, {})
    for name in ("HS256", "HS384", "HS512", "RS256", "ES256", "PS256", "Ed25519", "eddsa", "EdDSA "):
        yield f"alg {name!r}", smith.signed({"alg": name}, {})
    yield "no alg", smith.signed({"alg": GONE}, {})
    yield "alg null", smith.signed({"alg": None}, {})
    yield "alg a list", smith.signed({"alg": ["EdDSA"]}, {})
    public = smith._key.as_pem(private=False)
    yield "HS256 with the public key as PEM", smith.shared("sha256", public)
    yield (
        "HS256 with the public key's bytes",
        smith.shared("sha256", smith._private.public_key().public_bytes_raw()),
    )
    yield "HS256 with an empty secret", smith.shared("sha256", b"\x00")


def _headers(smith: Smith) -> Iterator[tuple[str, str]]:
    for value in ("JWT", "jwt", "AT+JWT", "application/at+jwt", "rt+jwt", "", None, 7, GONE):
        yield f"typ {_name(value)}", smith.signed({"typ": value}, {})
    for value in ("unknown", "", "../../../../dev/null", "' OR 1=1 --", "x" * 500, None, 7, ["a"], GONE):
        yield f"kid {_name(value)[:20]}", smith.signed({"kid": value}, {})
    jwk = smith.public_jwk(STRANGER)
    yield "a key of its own", smith.signed({"jwk": jwk}, {}, STRANGER)
    yield "a key of its own and no kid", smith.signed({"jwk": jwk, "kid": GONE}, {}, STRANGER)
    yield "the real key in jwk", smith.signed({"jwk": smith._key.as_dict(private=False)}, {})
    for name, value in {
        "jku": "https://attacker.example/jwks.json",
        "x5u": "https://attacker.example/cert.pem",
        "x5c": ["MIIB"],
        "x5t": "abc",
        "x5t#S256": "abc",
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "cty": "JWT",
        "enc": "A256GCM",
        "p2c": 1_000_000,
        "foo": "bar",
    }.items():
        yield f"header {name}", smith.signed({name: value}, {})
    yield "an empty crit", smith.signed({"crit": []}, {})


def _claims(smith: Smith) -> Iterator[tuple[str, str]]:
    now = int(time.time())
    for name in ("iss", "aud", "sub", "roles", "iat", "exp", "jti"):
        yield f"no {name}", smith.signed({}, {name: GONE})
        yield f"{name} null", smith.signed({}, {name: None})
        yield f"{name} an object", smith.signed({}, {name: {"a": 1}})
    for name, values in {
        "iss": ("Gateway", "https://gateway", "", ["gateway"]),
        "aud": ("Platform", "other", "", ["other", "platform"], 7),
        "sub": ("admin", "", 7, "00000000-0000-0000-0000-00000000000g"),
        "exp": (now - 60, 0, -1, str(now + 60), now + 60.5, True, "never"),
        "iat": (now + 600, str(now), True, 1.5),
        "nbf": (now + 600, str(now), None, True),
        "jti": ("", 7),
        "roles": ("admin", ["admin", 7], [None], {"admin": True}),
        "sid": ("session", 7, None),
    }.items():
        for value in values:
            yield f"{name} {_name(value)}", smith.signed({}, {name: value})


def _signatures(smith: Smith) -> Iterator[tuple[str, str]]:
    good = smith.good()
    head, body, signature = good.split(".")
    last = ALPHABET.index(signature[-1])
    yield "signed by a stranger", smith.signed({}, {}, STRANGER)
    yield "no signature", f"{head}.{body}."
    yield "half a signature", f"{head}.{body}.{signature[:43]}"
    yield "a signature of zeros", f"{head}.{body}.{'A' * 86}"
    yield "a signature of another token", f"{head}.{body}.{smith.good().split('.')[2]}"
    yield "a flipped bit", f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    yield "the same signature with other spare bits", f"{head}.{body}.{signature[:-1]}{ALPHABET[last ^ 1]}"
    yield "a padded signature", f"{good}=="
    changed = _b64(_json(smith.claims({"roles": ["admin"], "sub": str(uuid4())}))).decode()
    yield "another payload under the signature", f"{head}.{changed}.{signature}"
    other = _b64(_json(smith.header({"kid": "other"}))).decode()
    yield "another header under the signature", f"{other}.{body}.{signature}"


def _shapes(smith: Smith) -> Iterator[tuple[str, str]]:
    good = smith.good()
    head, body, signature = good.split(".")
    payload = _json(smith.claims({}))
    yield "one part", head
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{good}.{signature}"
    yield "five parts", f"{head}.{body}.{signature}.{body}.{signature}"
    yield "a part empty", f".{body}.{signature}"
    yield "no payload", f"{head}..{signature}"
    yield "twice", f"{good}.{good}"
    yield "a space within", f"{head}. {body}.{signature}"
    yield "a word", "admin"
    yield "JSON", json.dumps(smith.claims({}))
    yield "a header that is no JSON", smith.raw(b"{", payload)
    yield "a header that is a list", smith.raw(b"[]", payload)
    yield "a header that is deep", smith.raw(b"[" * 300 + b"]" * 300, payload)
    yield "a header that is no UTF-8", smith.raw(b'{"alg":"EdDSA","kid":"\xff"}', payload)
    yield "a payload that is no JSON", smith.raw(_json(smith.header({})), b"admin")
    yield "a payload that is a list", smith.raw(_json(smith.header({})), b"[]")
    yield "a payload that is a number", smith.raw(_json(smith.header({})), b"1")
    yield "a payload that is no UTF-8", smith.raw(_json(smith.header({})), b'{"iss":"\xff"}')
    yield "too long", smith.signed({}, {"padding": "x" * 4_000})
    yield "in the ordinary alphabet", good.replace("-", "+").replace("_", "/") + "/"


def _changed(usual: dict[str, Any], changes: Fields) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **changes}.items() if value is not GONE}


def _name(value: object) -> str:
    return "missing" if value is GONE else repr(value)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
