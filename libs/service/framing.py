"""What the HTTP parser refuses before there is a request: answered as a problem too."""

import secrets
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs.service.problems import MEDIA_TYPE, Problem

UNREADABLE: Final = Problem(400, "bad_request", "This is no HTTP request that can be read.")


class ProblemProtocol(HttpToolsProtocol):
    """uvicorn's protocol; it answers broken framing with problem details instead of plain text."""

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
