"""Asking an HTTP server in tests."""

import httpx


async def is_ready(url: str) -> bool:
    """Whether a service says so itself; nobody there means no."""
    try:
        async with httpx.AsyncClient(timeout=2.0) as client:
            return (await client.get(f"{url}/readyz")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
