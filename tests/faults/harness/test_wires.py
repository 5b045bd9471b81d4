"""The readers of both protocols, fed byte by byte: they find what they must and change nothing."""

import struct

from tests.faults.harness import kafka_wire
from tests.faults.harness.postgres_wire import Backend, Frontend, Message


def typed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


def untyped(code: int, body: bytes = b"") -> bytes:
    return struct.pack(">ii", len(body) + 8, code) + body


STARTUP = untyped(196608, b"user\0someone\0\0")


def fed(reader: Frontend | Backend, data: bytes) -> list[Message]:
    """Everything that comes out when every byte arrives alone."""
    found = [message for byte in data for message in reader.feed(bytes([byte]))]
    assert b"".join(message.raw for message in found) == data
    return found


def commits(data: bytes) -> list[bytes]:
    return [message.raw for message in fed(Frontend(), STARTUP + data) if message.commits]


def parse(name: bytes, text: bytes) -> bytes:
    return typed(b"P", name + b"\0" + text + b"\0\0\0")


def bind(portal: bytes, statement: bytes) -> bytes:
    return typed(b"B", portal + b"\0" + statement + b"\0" + b"\0" * 6)


def execute(portal: bytes) -> bytes:
    return typed(b"E", portal + b"\0" + struct.pack(">i", 0))


def test_a_simple_commit_is_found_however_it_is_written() -> None:
    queries = [typed(b"Q", text + b"\0") for text in (b"COMMIT", b"commit;", b" end ", b"SELECT 'COMMIT'")]
    assert commits(b"".join(queries)) == queries[:3]


def test_a_pipelined_commit_is_found_where_it_is_executed() -> None:
    insert = parse(b"", b"INSERT INTO t VALUES (1)") + bind(b"", b"") + execute(b"")
    commit = parse(b"", b"COMMIT") + bind(b"", b"")
    assert commits(insert + commit + execute(b"") + typed(b"S", b"")) == [execute(b"")]


def test_a_prepared_commit_is_found_each_time_and_forgotten_with_its_name() -> None:
    prepared = parse(b"c", b"COMMIT")
    again = bind(b"p", b"c") + execute(b"p")
    other = parse(b"c", b"SELECT 1") + bind(b"p", b"c") + execute(b"p")
    assert commits(prepared + again + again + other) == [execute(b"p"), execute(b"p")]


def test_negotiation_comes_before_the_start_and_is_answered_with_a_byte() -> None:
    encrypt = untyped(80877103)
    assert len(fed(Frontend(), encrypt + STARTUP + typed(b"Q", b"COMMIT\0"))) == 3
    answers = fed(Backend(), b"N" + typed(b"R", b"\0\0\0\0") + typed(b"C", b"COMMIT\0"))
    assert [message.commits for message in answers] == [False, False, True]


def test_another_commands_completion_is_no_commit() -> None:
    [begun, inserted] = fed(Backend(), typed(b"C", b"BEGIN\0") + typed(b"C", b"INSERT 0 1\0"))
    assert not begun.commits
    assert not inserted.commits


def test_kafkas_frames_are_cut_and_produces_known_by_their_key() -> None:
    produce = struct.pack(">ihhi", 12, 0, 9, 41) + b"body"
    fetch = struct.pack(">ihhi", 8, 1, 11, 42)
    frames = kafka_wire.Frames()
    cut = [frame for byte in produce + fetch for frame in frames.feed(bytes([byte]))]
    assert cut == [produce, fetch]
    requests = [kafka_wire.request(frame) for frame in cut]
    assert [(r.produces, r.correlation) for r in requests] == [(True, 41), (False, 42)]
    assert kafka_wire.response(struct.pack(">ii", 4, 41)).correlation == 41
