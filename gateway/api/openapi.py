"""The OpenAPI document: what FastAPI derives from the routes, with problems, security, links and examples."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.bodies.orders import TimelineEntry
from gateway.api.bodies.problems import FaultOut, ProblemOut
from libs.service import problems
from libs.service.problems import MEDIA_TYPE

Document = dict[str, Any]

VERSION: Final = "1.0.0"
DESCRIPTION: Final = """The shop's one entry: accounts, catalogue, orders, payments and stock.

Bodies are JSON, and fields that are not asked for are refused. Every error is an RFC 9457 problem; its `type` is
the address of a page that says what happened and what to do. Orders are accepted with 202 and worked off by a saga:
follow `links.self`, or stream `links.events`."""

BY_OPERATORS: Final = frozenset(
    {"addCategory", "addProduct", "changeProduct", "setPrice", "getStock", "setStock"}
)
"""Operations that need the role operator or admin."""
FOR_EVERYBODY: Final = frozenset(
    {"register", "login", "refresh", "getKeys", "listCategories", "listProducts", "getProduct"}
)
"""Operations that need no token, and look at none."""

_STATUSES: Final[Mapping[str, tuple[int, ...]]] = {
    "register": (409,),
    "login": (401,),
    "refresh": (401,),
    "getProfile": (404,),
    "changeProfile": (404,),
    "createOrder": (409,),
    "cancelOrder": (409,),
    "addCategory": (409,),
    "setStock": (409,),
    "addPaymentMethod": (409,),
    "removePaymentMethod": (409,),
    "depositMoney": (422,),
}
_ALWAYS: Final = (400, 405, 429, 500, 503)
_SUMMARIES: Final[Mapping[int, str]] = {
    400: "The request, a header or the body cannot be read",
    401: "No token, or none that is valid",
    403: "The token's role is not enough",
    404: "Not there, or not yours",
    405: "The address does not know this method",
    409: "Not in this state",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The request does not fit its schema",
    429: "Too many requests",
    500: "Something went wrong on our side",
    503: "Not right now; try again",
}
_RETRY_AFTER: Final = {"description": "seconds to wait", "schema": {"type": "string"}}
_HEADERS: Final[Mapping[int, Document]] = {
    401: {"WWW-Authenticate": {"description": "RFC 6750", "schema": {"type": "string"}}},
    405: {"Allow": {"description": "the methods known here", "schema": {"type": "string"}}},
    429: {
        "Retry-After": _RETRY_AFTER,
        "RateLimit": {"description": "the bucket's state", "schema": {"type": "string"}},
        "RateLimit-Policy": {"description": "the bucket", "schema": {"type": "string"}},
    },
    503: {"Retry-After": _RETRY_AFTER},
}
_ANSWER_HEADERS: Final[Mapping[str, Document]] = {
    "createOrder": {
        "Location": {"description": "the order", "schema": {"type": "string", "format": "uri-reference"}},
        "Retry-After": _RETRY_AFTER,
        "Idempotency-Replayed": {
            "description": "`true` when an earlier request with this key made the order",
            "schema": {"type": "string"},
        },
        "Preference-Applied": {"description": "RFC 7240", "schema": {"type": "string"}},
    },
    "addProduct": {
        "Location": {"description": "the product", "schema": {"type": "string", "format": "uri-reference"}}
    },
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "1 to 255 characters from ! to ~, bare or in quotation marks; a repeat with the same key does "
    "nothing twice",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~][!-~]*$"},
    "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}
_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=N` holds the answer until the order has ended, at most N seconds and 30 (RFC 7240)",
    "schema": {"type": "string"},
    "example": "wait=5",
}
_EVENT: Final = {
    "type": "object",
    "description": "one event for each entry of the timeline; comments keep the stream alive",
    "properties": {
        "id": {"type": "string", "description": "send it as Last-Event-ID to go on behind it"},
        "event": {"enum": list(get_args(TimelineEntry.model_fields["event"].annotation))},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/TimelineEntry"},
        },
        "retry": {"type": "integer"},
    },
}
_ORDER_ID: Final = {"order_id": "$response.body#/order_id"}
_PRODUCT_ID: Final = {"product_id": "$response.body#/id"}
_LINKS: Final[Mapping[tuple[str, str], Document]] = {
    ("createOrder", "202"): {
        "order": {"operationId": "getOrder", "parameters": _ORDER_ID},
        "events": {"operationId": "streamOrderEvents", "parameters": _ORDER_ID},
        "cancel": {"operationId": "cancelOrder", "parameters": _ORDER_ID},
    },
    ("getOrder", "200"): {
        "events": {"operationId": "streamOrderEvents", "parameters": _ORDER_ID},
        "cancel": {"operationId": "cancelOrder", "parameters": _ORDER_ID},
    },
    ("cancelOrder", "202"): {"order": {"operationId": "getOrder", "parameters": _ORDER_ID}},
    ("listOrders", "200"): {
        "newest": {"operationId": "getOrder", "parameters": {"order_id": "$response.body#/items/0/order_id"}},
    },
    ("addProduct", "201"): {
        "product": {"operationId": "getProduct", "parameters": _PRODUCT_ID},
        "change": {"operationId": "changeProduct", "parameters": _PRODUCT_ID},
        "price": {"operationId": "setPrice", "parameters": _PRODUCT_ID},
        "stock": {"operationId": "setStock", "parameters": _PRODUCT_ID},
    },
    ("setStock", "200"): {
        "stock": {"operationId": "getStock", "parameters": {"product_id": "$response.body#/product_id"}},
    },
    ("listProducts", "200"): {
        "first": {"operationId": "getProduct", "parameters": {"product_id": "$response.body#/items/0/id"}},
    },
    ("addPaymentMethod", "201"): {
        "remove": {"operationId": "removePaymentMethod", "parameters": {"method_id": "$response.body#/id"}},
    },
    ("addCategory", "201"): {
        "products": {"operationId": "listProducts", "parameters": {"category_id": "$response.body#/id"}},
    },
    ("register", "201"): {
        "login": {
            "operationId": "login",
            "requestBody": {"email": "$request.body#/email", "password": "$request.body#/password"},
        },
    },
    ("login", "200"): {
        "refresh": {
            "operationId": "refresh",
            "requestBody": {"refresh_token": "$response.body#/refresh_token"},
        },
    },
}


def describe(app: FastAPI) -> None:
    """Give the application its OpenAPI document, made once.

    With it, 404 where a slash is too many, and 405 with every method that an address knows.
    """
    app.router.redirect_slashes = False
    app.add_exception_handler(405, _method_not_allowed)

    def openapi() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    """The framework knows one route at a time, so its own answer would name the methods of one of them only."""
    problem = problems.of(error)
    app: FastAPI = request.app
    for path, operations in app.openapi()["paths"].items():
        if _matching(path).fullmatch(request.url.path):
            problem.headers = {**problem.headers, "Allow": ", ".join(sorted(map(str.upper, operations)))}
            break
    return problems.response(problem, request.scope)


@lru_cache(maxsize=256)
def _matching(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(path)))


def document(app: FastAPI) -> Document:
    """The document of the application's routes."""
    made = get_openapi(
        title="Order platform",
        version=VERSION,
        description=DESCRIPTION,
        routes=app.routes,
        servers=[{"url": "/"}],
    )
    schemas = made["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas |= _problem_schemas()
    made["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "RFC 9068"}
    }
    made["components"]["responses"] = {f"Problem{status}": _problem(status) for status in _SUMMARIES}
    for operations in made["paths"].values():
        for operation in operations.values():
            _complete(operation)
    whole: Document = _with_whole_numbers(made)
    return whole


def _with_whole_numbers(node: Any) -> Any:
    """Bounds of integers as integers; FastAPI writes them with a decimal point."""
    match node:
        case float() if node.is_integer():
            return int(node)
        case dict():
            return {name: _with_whole_numbers(value) for name, value in node.items()}
        case list():
            return [_with_whole_numbers(value) for value in node]
        case _:
            return node


def _complete(operation: Document) -> None:
    name = operation["operationId"]
    operation["summary"] = operation["description"].partition(";")[0].partition(":")[0].rstrip(".")
    operation["security"] = [] if name in FOR_EVERYBODY else [{"token": []}]
    if name in {"createOrder", "depositMoney"}:
        others = [
            one
            for one in operation.get("parameters", [])
            if one["name"].lower() not in {"idempotency-key", "prefer"}
        ]
        operation["parameters"] = [*others, _KEY, *([_PREFER] if name == "createOrder" else [])]
    for parameter in operation.get("parameters", []):
        _never_null(parameter["schema"])
    answers = operation["responses"]
    answers.pop("422", None)
    for status in sorted(_statuses(name, operation)):
        answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    for status, answer in answers.items():
        if status.startswith("2"):
            answer["description"] = operation["summary"]
            if name in _ANSWER_HEADERS:
                answer["headers"] = _ANSWER_HEADERS[name]
            if (name, status) in _LINKS:
                answer["links"] = _LINKS[name, status]
    if name == "streamOrderEvents":
        answers["200"]["content"] = {"text/event-stream": {"schema": _EVENT}}


def _never_null(schema: Document) -> None:
    """A parameter may be left out; there is no null in a query or a header."""
    match schema.pop("anyOf", None):
        case [dict() as given, {"type": "null"}]:
            schema |= given
        case None:
            pass
        case options:
            schema["anyOf"] = options


def _statuses(name: str, operation: Document) -> set[int]:
    """The problems that an operation may be answered with."""
    found = {*_ALWAYS, *_STATUSES.get(name, ())}
    if name not in FOR_EVERYBODY:
        found.add(401)
    if name in BY_OPERATORS:
        found.add(403)
    if operation.get("parameters"):
        found.add(422)
    if any(one["in"] == "path" for one in operation.get("parameters", [])):
        found.add(404)
    if "requestBody" in operation:
        found |= {413, 415, 422}
    return found


def _problem(status: int) -> Document:
    answer: Document = {
        "description": _SUMMARIES[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _HEADERS:
        answer["headers"] = _HEADERS[status]
    return answer


def _problem_schemas() -> Document:
    template = "#/components/schemas/{model}"
    fault = FaultOut.model_json_schema(by_alias=True, ref_template=template)
    problem = ProblemOut.model_json_schema(by_alias=True, ref_template=template)
    problem.pop("$defs", None)
    problem["properties"]["errors"] = {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Fault"},
        "description": "each fault of the request, with a JSON Pointer to it",
    }
    fault["title"], problem["title"] = "Fault", "Problem"
    return {"Fault": fault, "Problem": problem}


def operations(app: FastAPI) -> dict[str, tuple[str, str]]:
    """Method and path of every operation, by its id."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document(app)["paths"].items()
        for method, operation in methods.items()
    }
