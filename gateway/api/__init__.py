"""HTTP of the gateway."""

from fastapi import APIRouter, Depends
from starlette.types import ASGIApp

from gateway.api import accounts, catalogue, docs, events, history, limits, metrics, orders, payments
from gateway.api.gate import open_gate
from gateway.api.queries import once_each
from gateway.settings import GatewaySettings
from libs.service.runtime import Runtime


def router(runtime: Runtime) -> APIRouter:
    """Every route of http_api.md; the one for orders comes first, because it is asked for most."""
    gate = open_gate(runtime)
    metrics.register(runtime.metrics, gate.intake)
    routes = APIRouter()
    routes.routes.append(orders.accepting(gate))
    rest = [
        history.router(gate),
        events.router(gate),
        orders.cancelling(gate),
        accounts.sessions(gate),
        accounts.profiles(gate),
        catalogue.browsing(gate),
        catalogue.changing(gate),
        catalogue.stock(gate),
        payments.router(gate),
    ]
    for each in rest:
        routes.include_router(each, dependencies=[Depends(once_each)])
    routes.include_router(docs.problem_pages())
    if gate.settings.shows_docs:
        routes.include_router(docs.api_pages())
    return routes


def middleware(app: ASGIApp, runtime: Runtime) -> ASGIApp:
    """What every request passes through before it reaches a route."""
    settings = runtime.settings
    if not isinstance(settings, GatewaySettings):
        raise TypeError("the gateway runs with GatewaySettings")
    return limits.with_cors(limits.Limits(app, settings, runtime.guard), settings.cors_origins)
