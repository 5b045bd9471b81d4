"""A bad request, and how it must be refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

ID: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
EUR_5: Final = {"amount_minor": 500, "currency": "EUR"}


@dataclass(frozen=True, slots=True)
class Case:
    """A request that must be refused: with this status, this code, and this fault where faults are listed."""

    name: str
    status: int
    code: str
    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] | None = None
    fault: tuple[str, str] | None = None
    role: str = "customer"
    chunked: bool = False


def order(**changes: Any) -> dict[str, Any]:
    """The body of a good order, changed."""
    good = {"payment_method_id": ID, "lines": [{"product_id": ID, "quantity": 1}]}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def invalid(method: str, path: str, name: str, body: object, pointer: str, code: str, **more: Any) -> Case:
    """A body that can be read, with one fault."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(name, 422, "validation_failed", method, path, content, fault=(pointer, code), **more)


posting: Final = partial(invalid, "POST", "/api/orders")
"""An order with one fault."""
