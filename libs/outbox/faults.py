"""Whose fault a database error is: a message's, or the system's."""

from typing import Final

import psycopg

GUILTY: Final = (psycopg.DataError, psycopg.IntegrityError)
"""SQLSTATE classes 22 "data exception" and 23 "integrity constraint violation" (PostgreSQL, appendix A), and what
psycopg itself cannot write or read: a text with U+0000, a time after the last year. Those have no SQLSTATE."""


def blames_message(error: psycopg.Error) -> bool:
    """Whether the error lies in the data of a message; every other one is to be retried."""
    return isinstance(error, GUILTY)
