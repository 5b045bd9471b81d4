"""Pages for people: the API as HTML, and what each problem means."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from libs.service.problems import Problem

PROBLEMS: Final = Path(__file__).parents[2] / "docs" / "problems"
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
code, pre { font-size: .9em; background: #f4f4f2; border-radius: 3px; padding: .1em .3em }
pre { padding: .8em; overflow: auto } summary { cursor: pointer; padding: .3rem 0 }
.method { display: inline-block; width: 4.5rem; font-weight: 600 } details { border-bottom: 1px solid #ddd }
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
"""
_PAGE_POLICY: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
}


def problem_pages() -> APIRouter:
    """GET /problems/{code}: the page that a problem's `type` names."""
    routes = APIRouter(include_in_schema=False)
    pages = {path.stem: path.read_text("utf-8") for path in sorted(PROBLEMS.glob("*.md"))}

    @routes.get("/problems/{code}")
    async def problem_page(code: str) -> Response:
        if code not in pages:
            raise Problem(404, "not_found", "There is no such problem.")
        return PlainTextResponse(pages[code], media_type="text/markdown")

    return routes


def api_pages() -> APIRouter:
    """GET /openapi.json, and GET /docs, which shows it without any script."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        return JSONResponse(request.app.openapi())

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return HTMLResponse(page(request.app.openapi()), headers=_PAGE_POLICY)

    return routes


def page(document: dict[str, Any]) -> str:
    """The OpenAPI document as one page of HTML."""
    return "".join(_page(document))


def _page(document: dict[str, Any]) -> Iterator[str]:
    title = html.escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    yield f"<h1>{title}</h1>"
    for paragraph in document["info"]["description"].split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"
    yield '<p>For machines: <a href="/openapi.json">/openapi.json</a></p>'
    tag = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if tag != (tag := operation["tags"][0]):
                yield f"<h2>{html.escape(tag)}</h2>"
            yield from _operation(method, path, operation)
    yield "<h2>schemas</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f'<details id="{html.escape(name)}"><summary>{html.escape(name)}</summary>'
        yield f"<p>{_text(schema.get('description', ''))}</p><table>"
        for field, about in schema.get("properties", {}).items():
            needed = "" if field in schema.get("required", ()) else " (optional)"
            yield f"<tr><td><code>{html.escape(field)}</code>{needed}<td>{_type(about)}"
        yield "</table></details>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    lock = " 🔒" if operation["security"] else ""
    yield f'<details id="{operation["operationId"]}"><summary><span class="method">{method.upper()}</span>'
    yield f"<code>{html.escape(path)}</code>{lock} {html.escape(operation['summary'])}</summary>"
    yield f"<p>{_text(operation['description'])}</p><table>"
    for parameter in operation.get("parameters", []):
        needed = "" if parameter.get("required") else " (optional)"
        about = _text(parameter.get("description", ""))
        yield f"<tr><td><code>{html.escape(parameter['name'])}</code>{needed}<td>{parameter['in']}<td>{about}"
    yield "</table>"
    if "requestBody" in operation:
        yield f"<p>Body: {_type(operation['requestBody']['content']['application/json']['schema'])}</p>"
    yield "<table>"
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json", {})
        about = _type(content["schema"]) if content else html.escape(answer.get("description", "problem"))
        yield f"<tr><td>{status}<td>{about}"
    yield "</table></details>"


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": str() as ref}:
            name = html.escape(ref.rpartition("/")[2])
            return f'<a href="#{name}">{name}</a>'
        case {"anyOf": [*options]}:
            return " or ".join(_type(option) for option in options)
        case {"type": "array", "items": dict() as items}:
            return f"list of {_type(items)}"
        case {"enum": [*values]}:
            return " | ".join(f"<code>{html.escape(str(value))}</code>" for value in values)
        case {"const": value}:
            return f"<code>{html.escape(str(value))}</code>"
        case _:
            described = schema.get("description")
            about = html.escape(str(schema.get("format") or schema.get("type", "any")))
            return f"{about}: {_text(described)}" if described else about


def _text(markdown: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(markdown))
