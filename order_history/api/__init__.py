"""The HTTP side of the read model: orders, lists, streams, and those who wait for news."""

from order_history.api.arrivals import Arrivals, Pace
from order_history.api.routes import router

__all__ = ["Arrivals", "Pace", "router"]
