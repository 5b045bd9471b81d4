"""HTTP/1.1 connections: what the parser refuses is answered as a problem, and what is over is let go of."""

import secrets
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs.service.problems import MEDIA_TYPE, Problem

UNREADABLE: Final = Problem(400, "bad_request", "This is no HTTP request that can be read.")


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol; it answers broken framing with problem details instead of plain text.

    A connection that waits for its next request keeps nothing of the last one, which would be half of its memory.
    """

    def on_response_complete(self) -> None:
        """As uvicorn's; a request whose body has not come yet is kept until the next."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.cycle.more_body:
            self.cycle = self.scope = self.headers = None  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answer and close."""
        body = UNREADABLE.body(secrets.token_hex(16))
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
