"""Whose fault a database error is."""

import psycopg
import pytest
from psycopg import errors
from psycopg.adapt import Transformer

from libs.outbox.faults import blames_message


@pytest.mark.parametrize(
    "error",
    [
        errors.CheckViolation(),
        errors.UniqueViolation(),
        errors.ForeignKeyViolation(),
        errors.NotNullViolation(),
        errors.NumericValueOutOfRange(),
        errors.InvalidTextRepresentation(),
        errors.UntranslatableCharacter(),
    ],
)
def test_what_lies_in_the_data_is_the_messages_fault(error: psycopg.Error) -> None:
    assert blames_message(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.SerializationFailure(),
        errors.DeadlockDetected(),
        errors.AdminShutdown(),
        errors.LockNotAvailable(),
        errors.IdleInTransactionSessionTimeout(),
        errors.DiskFull(),
        errors.TooManyConnections(),
        errors.UndefinedColumn(),
        psycopg.OperationalError("the connection is lost"),
        psycopg.InterfaceError("the connection is closed"),
    ],
)
def test_everything_else_is_the_systems(error: psycopg.Error) -> None:
    assert not blames_message(error)


def test_a_text_that_psycopg_cannot_write_is_the_messages_fault() -> None:
    with pytest.raises(psycopg.Error) as caught:
        Transformer().get_dumper("a\x00b", psycopg.adapt.PyFormat.TEXT).dump("a\x00b")
    assert blames_message(caught.value)


def test_a_time_that_psycopg_cannot_read_is_not_waited_for() -> None:
    with pytest.raises(psycopg.Error) as caught:
        Transformer().get_loader(1184, psycopg.pq.Format.BINARY).load(b"\x7f" + b"\xff" * 6 + b"\xfe")
    assert blames_message(caught.value)
