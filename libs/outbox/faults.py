"""Whose fault a database error is: a message's, or the system's."""

import psycopg

GUILTY_CLASSES = ("22", "23")
"""SQLSTATE classes "data exception" and "integrity constraint violation" (PostgreSQL, appendix A)."""


def blames_message(error: psycopg.Error) -> bool:
    """Whether the error lies in the data of a message; every other one is to be retried."""
    return error.sqlstate is not None and error.sqlstate[:2] in GUILTY_CLASSES
