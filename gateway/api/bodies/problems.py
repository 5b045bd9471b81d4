"""Problems, as clients get them."""

from typing import Literal

from pydantic import Field

from gateway.api.bodies.fields import Answer


class FaultOut(Answer):
    """One thing wrong with a request."""

    place: Literal["body", "query", "path", "header"] = Field(alias="in")
    pointer: str = Field(examples=["#/lines/0/quantity"])
    detail: str
    code: str


class ProblemOut(Answer):
    """RFC 9457 problem details; `code` is stable, and `type` is the address of its page."""

    type: str = Field(examples=["/problems/not_found"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str
    trace_id: str = Field(pattern="^[0-9a-f]{32}$")
    errors: list[FaultOut] | None = None
