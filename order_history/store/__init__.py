"""All SQL of the read model: the fold's load and save, the queries, and the shadow tables of a rebuild."""

from order_history.store.fold import load, save
from order_history.store.queries import (
    Cursor,
    Filters,
    Found,
    Line,
    Page,
    Sort,
    newest_arrivals,
    order,
    page,
    statuses,
)

__all__ = [
    "Cursor",
    "Filters",
    "Found",
    "Line",
    "Page",
    "Sort",
    "load",
    "newest_arrivals",
    "order",
    "page",
    "save",
    "statuses",
]
