"""What is packed many at once is what the protocol says, number by number."""

from io import BytesIO

import pytest
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.types import Array, Bytes, Int16, Int32, Int64, Schema, String
from hypothesis import given
from hypothesis import strategies as st

from libs.messaging import fetching

REQUEST = Schema(
    (
        "topics",
        Array(
            ("topic", String("utf-8")),
            (
                "partitions",
                Array(
                    ("partition", Int32),
                    ("current_leader_epoch", Int32),
                    ("fetch_offset", Int64),
                    ("log_start_offset", Int64),
                    ("max_bytes", Int32),
                ),
            ),
        ),
    )
)
RESPONSE = Schema(
    (
        "topics",
        Array(
            ("topics", String("utf-8")),
            (
                "partitions",
                Array(
                    ("partition", Int32),
                    ("error_code", Int16),
                    ("highwater_offset", Int64),
                    ("last_stable_offset", Int64),
                    ("log_start_offset", Int64),
                    (
                        "aborted_transactions",
                        Array(("producer_id", Int64), ("first_offset", Int64)),
                    ),
                    ("preferred_read_replica", Int32),
                    ("message_set", Bytes),
                ),
            ),
        ),
    )
)


def signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def of_topics(
    partition: st.SearchStrategy[tuple[object, ...]],
) -> st.SearchStrategy[list[tuple[str, list[object]]]]:
    return st.lists(st.tuples(st.text(max_size=20), st.lists(partition, max_size=4)), max_size=4)


wanted = of_topics(st.tuples(signed(32), signed(32), signed(64), signed(64), signed(32)))
fetched = of_topics(
    st.tuples(
        signed(32),
        signed(16),
        signed(64),
        signed(64),
        signed(64),
        st.none() | st.lists(st.tuples(signed(64), signed(64)), max_size=3),
        signed(32),
        st.none() | st.binary(max_size=50),
    )
)


@given(wanted)
def test_a_request_is_packed_as_the_schema_says(topics: list[tuple[str, list[object]]]) -> None:
    assert fetching.WantedTopics.encode(topics) == REQUEST.encode([topics])  # type: ignore[arg-type]


@given(fetched, st.binary(max_size=5), st.binary(max_size=5))
def test_an_answer_is_unpacked_as_the_schema_says_and_no_further(
    topics: list[tuple[str, list[object]]], before: bytes, behind: bytes
) -> None:
    data = BytesIO(before + RESPONSE.encode([topics]) + behind)
    data.seek(len(before))
    assert fetching.FetchedTopics.decode(data) == topics
    assert data.read() == behind


@given(fetched.filter(bool), st.data())
def test_an_answer_that_ends_too_early_is_an_error(
    topics: list[tuple[str, list[object]]], data: st.DataObject
) -> None:
    whole = RESPONSE.encode([topics])
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ValueError, match=r"too early|invalid|unexpected"):
        fetching.FetchedTopics.decode(BytesIO(cut))


def test_whole_requests_and_answers_are_the_same_bytes() -> None:
    fetching.install()
    topics = [("order-events", [(0, -1, 7, -1, 1024), (2, -1, 1 << 40, -1, 1024)])]
    fields: tuple[object, ...] = (-1, 100, 1, 52_428_800, 0, 0, -1, topics, [], "")
    plain_request = fetching.with_topics(FetchRequest_v11.SCHEMA, REQUEST.fields[0])
    assert FetchRequest_v11(*fields).encode() == plain_request.encode(fields)
    partitions: list[object] = [(0, 0, 9, 9, 0, None, -1, b"records"), (1, 3, -1, -1, -1, [], -1, None)]
    answer: tuple[object, ...] = (5, 0, 0, [("order-events", partitions)])
    plain_response = fetching.with_topics(FetchResponse_v11.SCHEMA, RESPONSE.fields[0])
    read = FetchResponse_v11.decode(plain_response.encode(answer))
    assert tuple(read.__dict__.values()) == answer
