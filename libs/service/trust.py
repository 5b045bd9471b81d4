"""Which servers a process believes when it speaks HTTPS."""

import os
import ssl
from functools import cache
from typing import Any

import certifi

from libs.service.errors import StartupRefused


class Trust(ssl.SSLContext):
    """A client's context: the authorities of SSL_CERT_FILE and SSL_CERT_DIR, else Mozilla's, as httpx has them.

    Mozilla's take 2 MiB of memory and are read for the first connection only: most services reach all they ask within
    the platform, over plain HTTP. Raises StartupRefused where what the environment names cannot be read.
    """

    def __init__(self, *_args: object) -> None:
        file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        self._complete = bool(file or folder)
        if self._complete:
            try:
                self.load_verify_locations(file or None, folder or None)
            except OSError as error:  # ssl.SSLError is one
                raise StartupRefused(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}") from error

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """As the base's; every connection of an event loop begins with it."""
        if not self._complete:
            self.load_verify_locations(certifi.where())
            self._complete = True
        return super().wrap_bio(*args, **options)


@cache
def trust() -> Trust:
    """The context of this process. Raises StartupRefused."""
    return Trust(ssl.PROTOCOL_TLS_CLIENT)
