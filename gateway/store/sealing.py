"""Keys for one purpose each, derived from the gateway's one secret (HKDF, RFC 5869)."""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SIGNING_KEYS: Final = b"signing-keys"
REFRESH_TOKENS: Final = b"refresh-tokens"
PAGE_TOKENS: Final = b"page-tokens"

_NONCE_BYTES: Final = 12


def derived(secret: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes that is good for this purpose only."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"order-saga/gateway/" + purpose).derive(
        secret
    )


def seal(secret: bytes, content: bytes, bound_to: str) -> bytes:
    """The content encrypted and authenticated, with its nonce before it; `bound_to` must be the same to open it."""
    nonce = os.urandom(_NONCE_BYTES)
    key = AESGCM(derived(secret, SIGNING_KEYS))
    return nonce + key.encrypt(nonce, content, bound_to.encode())


def unseal(secret: bytes, sealed: bytes, bound_to: str) -> bytes:
    """What was sealed; raises ValueError when the secret is another one or the bytes were changed."""
    key = AESGCM(derived(secret, SIGNING_KEYS))
    try:
        return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
    except InvalidTag as error:
        raise ValueError(
            "a signing key does not open: SIGNING_KEY_SECRET is not the one it was sealed with"
        ) from error
