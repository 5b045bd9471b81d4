"""Signs schemathesis in, as the operator of the stack that STACK_JSON names; loaded by its `SCHEMATHESIS_HOOKS`."""

import json
import os
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import schemathesis

Case: TypeAlias = schemathesis.Case[schemathesis.APIOperation[Any, Any, Any, Any]]

REFRESH_SECONDS = 300


@schemathesis.auth(refresh_interval=REFRESH_SECONDS)
class OperatorAuth:
    """A token that is renewed well before it expires."""

    def get(self, _case: Case, _context: schemathesis.AuthContext) -> str:
        """A fresh token."""
        info = json.loads(Path(os.environ["STACK_JSON"]).read_text("utf-8"))
        answer = httpx.post(f"{info['gateway_url']}/auth/login", json=info["operator"], timeout=30)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def set(self, case: Case, data: str, _context: schemathesis.AuthContext) -> None:
        """Put the token onto a request."""
        case.headers["Authorization"] = f"Bearer {data}"
