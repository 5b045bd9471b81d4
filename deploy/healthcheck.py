"""Asks the process on HTTP_PORT whether it is ready; the exit code is the answer.

It imports as little as it can: it runs every few seconds in every container.
"""

import os
import socket
import sys


def ready(port: int, path: bytes = b"/readyz") -> bool:
    """Whether status 200 comes within two seconds."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as asked:
            asked.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return asked.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not ready(int(os.environ["HTTP_PORT"])))
