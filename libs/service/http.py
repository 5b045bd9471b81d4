"""The HTTP side of a service: its routes, health, metrics, request log, and the server they run on."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.service import problems
from libs.service.direct import Direct
from libs.service.errors import StartupRefused
from libs.service.framing import Protocol
from libs.service.runtime import Runtime
from libs.service.service import Service

State = TypeVar("State")

QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})


class RequestLog:
    """One line for each request, health and metrics left out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET_PATHS:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            self._log.info(
                "http.request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1_000, 1),
                trace_id=problems.trace_id(scope),
                **scope.get("log_fields", {}),
            )


def build(service: Service[State], runtime: Runtime, faults: Callable[[], list[str]]) -> ASGIApp:
    """The service's ASGI application; `faults` names what keeps it from being ready."""
    app = FastAPI(title=service.name, docs_url=None, redoc_url=None, openapi_url=None)
    problems.install(app)
    router = APIRouter() if service.api is None else service.api(runtime)
    app.include_router(router)

    async def livez() -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(request: Request) -> Response:
        found = faults()
        if not found:
            return JSONResponse({"status": "ready"})
        problem = problems.Problem(503, "not_ready", "; ".join(found), headers={"Retry-After": "1"})
        return problems.response(problem, request.scope)

    async def metrics() -> Response:
        return Response(generate_latest(runtime.metrics), media_type=CONTENT_TYPE_LATEST)

    for path, endpoint in (("/livez", livez), ("/readyz", readyz), ("/metrics", metrics)):
        app.add_api_route(path, endpoint, response_class=Response, include_in_schema=False)
    if service.describe is not None:
        service.describe(app)
    inner: ASGIApp = Direct(app, router.routes)
    if service.middleware is not None:
        inner = service.middleware(inner, runtime)
    return RequestLog(inner)


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: the host decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(app: ASGIApp, *, shutdown_seconds: float) -> Server:
    """A server for the application, to be run with `serve(sockets=[…])`."""
    return Server(
        uvicorn.Config(
            app,
            http=Protocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, int(shutdown_seconds / 2)),
            timeout_keep_alive=75,
            backlog=2_048,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Bind the port, or say that it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartupRefused(
            f"port {port} on {host} is taken or not allowed ({error.strerror}); set HTTP_PORT to another one"
        ) from error
    listener.set_inheritable(True)
    return listener
