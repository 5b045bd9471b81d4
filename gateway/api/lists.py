"""Lists of the services, passed on as pages with signed tokens."""

from dataclasses import replace

from starlette.requests import Request

from gateway.api.gate import Gate
from gateway.api.paging import Filters, next_link
from gateway.api.queries import Page
from gateway.api.strict import Json
from gateway.api.upstream import Call


async def page(
    gate: Gate, request: Request, call: Call, asked: Page, filters: Filters, *, owner: str = ""
) -> Json:
    """A page of a service's list; its token holds the service's cursor and is good for these filters and this owner."""
    scope = f"{call.service}{call.path} {owner}"
    cursor = None
    if asked.page_token is not None:
        cursor = str(gate.pages.read(scope, filters, asked.page_token))
    query = dict(filters) | {"limit": asked.page_size, "after": cursor}
    reply = await gate.ask(request, replace(call, query=query))
    following = reply.body.pop("next")
    token = None if following is None else gate.pages.make(scope, filters, following)
    headers = {}
    if token is not None:
        headers["Link"] = next_link(request.url.path, dict(filters) | {"page_size": asked.page_size}, token)
    return Json(reply.body | {"next_page_token": token}, headers=headers)
