"""Which servers a process believes when it speaks HTTPS."""

import os
import ssl
from functools import cache
from typing import Any

import certifi


class Trust(ssl.SSLContext):
    """A client's context that reads the authorities' certificates, 2 MiB in memory, for its first connection only.

    Most services reach all they ask within the platform, over plain HTTP. Until the certificates are read, the
    context believes nobody.
    """

    def __init__(self, *_args: object) -> None:
        self._read = False

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """As the base's; every connection of an event loop begins with it."""
        if not self._read:
            authorities, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
            self.load_verify_locations(authorities or (None if folder else certifi.where()), folder)
            self._read = True
        return super().wrap_bio(*args, **options)


@cache
def trust() -> Trust:
    """The context of this process: the authorities of SSL_CERT_FILE or SSL_CERT_DIR, else Mozilla's, as httpx has them."""
    return Trust(ssl.PROTOCOL_TLS_CLIENT)
