"""Tries that the diagrams in docs/sagas are those of the definitions."""

from pathlib import Path

import pytest

from libs.saga.diagram import mermaid
from order_saga.diagrams import FOLDER, main, pages
from tests.libs.saga.trips import book_trip


@pytest.mark.parametrize("name", pages())
def test_a_committed_page_is_what_the_definition_says(name: str) -> None:
    """When this fails: `python -m order_saga.diagrams`."""
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name]


def test_no_page_is_left_of_a_saga_that_is_gone() -> None:
    assert {path.name for path in FOLDER.glob("*.md")} == set(pages())


def test_the_command_writes_every_page(tmp_path: Path) -> None:
    main(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(pages())


def test_parallel_steps_pivot_and_pause_are_drawn() -> None:
    drawn = mermaid(book_trip)
    assert "state book_hotel_and_book_flight {" in drawn
    assert "book_hotel_and_book_flight --> wait_for_visa" in drawn
    assert "book_hotel_and_book_flight --> cancel_flight: HotelFull" in drawn
    assert "book_hotel_and_book_flight --> cancel_hotel: FlightFull" in drawn
    assert "pay_trip --> cancel_flight: PaymentDeclined" in drawn
    assert "cancel_flight --> cancel_hotel" in drawn
