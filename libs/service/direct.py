"""Routes that FastAPI describes and does not serve: asked for so often that its layers would be most of their cost."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.service import problems

Answer: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]

_INTERNAL_ERROR = 500


class DirectRoute(APIRoute):
    """A route without parameters in its path; its requests go to `answer` as they came.

    `endpoint` is never called: its signature describes the route in the OpenAPI document.
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Awaitable[object]], answer: Answer, **described: Any
    ) -> None:
        self.answer = answer
        super().__init__(path, endpoint, **described)

    def get_route_handler(self) -> Answer:
        return self.answer


class Direct:
    """An application's direct routes, and the application for everything else. Errors become problems here too."""

    def __init__(self, app: ASGIApp, routes: Iterable[object]) -> None:
        self._app = app
        self._answers = {
            (method, route.path): route.answer
            for route in routes
            if isinstance(route, DirectRoute)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answers.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if answer is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await answer(Request(scope, receive))
        except ClientDisconnect:
            raise
        except Exception as error:
            problem = problems.of(error)
            await problems.response(problem, scope)(scope, receive, send)
            if problem.status == _INTERNAL_ERROR:
                raise  # for the server's log, as the framework does
            return
        await response(scope, receive, send)
