"""A saga that no shop has, for what the orders' sagas do not need: parallel steps, a pivot, an awaited event."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, Never
from uuid import UUID

from libs.contracts.message import Command, Event, Refusal
from libs.contracts.values import OrderId
from libs.saga.definition import (
    Join,
    Saga,
    compensable,
    pause,
    pivot,
    retriable,
    seconds,
    together,
)
from libs.saga.instance import Reason

TRIP_ID = OrderId(UUID("01900000-0000-7000-8000-0000000000aa"))
COMMANDS, EVENTS = "trip-commands", "trip-events"


class HotelBooked(Event):
    wire: ClassVar[str] = "hotel.HotelBooked.v1"
    topic: ClassVar[str] = EVENTS

    room: str


class HotelFull(Refusal):
    wire: ClassVar[str] = "hotel.HotelFull.v1"
    topic: ClassVar[str] = EVENTS


class HotelCancelled(Event):
    wire: ClassVar[str] = "hotel.HotelCancelled.v1"
    topic: ClassVar[str] = EVENTS


class BookHotel(Command[HotelBooked, HotelFull]):
    wire: ClassVar[str] = "hotel.BookHotel.v1"
    topic: ClassVar[str] = COMMANDS


class CancelHotel(Command[HotelCancelled, Never]):
    wire: ClassVar[str] = "hotel.CancelHotel.v1"
    topic: ClassVar[str] = COMMANDS

    why: str


class FlightBooked(Event):
    wire: ClassVar[str] = "airline.FlightBooked.v1"
    topic: ClassVar[str] = EVENTS

    seat: str


class FlightFull(Refusal):
    wire: ClassVar[str] = "airline.FlightFull.v1"
    topic: ClassVar[str] = EVENTS


class FlightCancelled(Event):
    wire: ClassVar[str] = "airline.FlightCancelled.v1"
    topic: ClassVar[str] = EVENTS


class BookFlight(Command[FlightBooked, FlightFull]):
    wire: ClassVar[str] = "airline.BookFlight.v1"
    topic: ClassVar[str] = COMMANDS


class CancelFlight(Command[FlightCancelled, Never]):
    wire: ClassVar[str] = "airline.CancelFlight.v1"
    topic: ClassVar[str] = COMMANDS

    why: str


class VisaGranted(Event):
    wire: ClassVar[str] = "embassy.VisaGranted.v1"
    topic: ClassVar[str] = EVENTS

    number: int


class TripPaid(Event):
    wire: ClassVar[str] = "bank.TripPaid.v1"
    topic: ClassVar[str] = EVENTS


class PaymentDeclined(Refusal):
    wire: ClassVar[str] = "bank.PaymentDeclined.v1"
    topic: ClassVar[str] = EVENTS


class PayTrip(Command[TripPaid, PaymentDeclined]):
    wire: ClassVar[str] = "bank.PayTrip.v1"
    topic: ClassVar[str] = COMMANDS


class TicketsSent(Event):
    wire: ClassVar[str] = "post.TicketsSent.v1"
    topic: ClassVar[str] = EVENTS


class SendTickets(Command[TicketsSent, Never]):
    wire: ClassVar[str] = "post.SendTickets.v1"
    topic: ClassVar[str] = COMMANDS


class TravellerTold(Event):
    wire: ClassVar[str] = "post.TravellerTold.v1"
    topic: ClassVar[str] = EVENTS


class TellTraveller(Command[TravellerTold, Never]):
    wire: ClassVar[str] = "post.TellTraveller.v1"
    topic: ClassVar[str] = COMMANDS


@dataclass(frozen=True, slots=True)
class Trip:
    """What the saga knows."""

    order_id: OrderId = TRIP_ID
    room: str = ""
    seat: str = ""
    visa: int = 0


def book_hotel(trip: Trip) -> BookHotel:
    return BookHotel(order_id=trip.order_id)


def keep_room(trip: Trip, booked: HotelBooked) -> Trip:
    return replace(trip, room=booked.room)


def cancel_hotel(trip: Trip, reason: Reason) -> CancelHotel:
    return CancelHotel(order_id=trip.order_id, why=reason.code)


def book_flight(trip: Trip) -> BookFlight:
    return BookFlight(order_id=trip.order_id)


def keep_seat(trip: Trip, booked: FlightBooked) -> Trip:
    return replace(trip, seat=booked.seat)


def cancel_flight(trip: Trip, reason: Reason) -> CancelFlight:
    return CancelFlight(order_id=trip.order_id, why=reason.code)


def wait_for_visa(_trip: Trip) -> timedelta:
    return timedelta(days=30)


def keep_visa(trip: Trip, visa: VisaGranted) -> Trip:
    return replace(trip, visa=visa.number)


def pay_trip(trip: Trip) -> PayTrip:
    return PayTrip(order_id=trip.order_id)


def send_tickets(trip: Trip) -> SendTickets:
    return SendTickets(order_id=trip.order_id)


def tell_traveller(trip: Trip, _reason: Reason) -> TellTraveller:
    return TellTraveller(order_id=trip.order_id)


def booking_of(join: Join = Join.FAIL_FAST, *, deadline: timedelta | None = None) -> Saga[Trip]:
    """Hotel and flight at once, then the visa, then the payment that decides."""
    return Saga[Trip](
        "book_trip",
        version=1,
        steps=[
            together(
                compensable(book_hotel, undo=cancel_hotel, keep=keep_room),
                compensable(book_flight, undo=cancel_flight, keep=keep_seat, within=seconds(60)),
                join=join,
            ),
            pause(wait_for_visa, until=VisaGranted, keep=keep_visa),
            pivot(pay_trip),
            retriable(send_tickets),
        ],
        on_compensation=tell_traveller,
        deadline=deadline,
    )


book_trip = booking_of()

HOTEL_BOOKED = HotelBooked(order_id=TRIP_ID, room="12")
HOTEL_FULL = HotelFull(order_id=TRIP_ID, reason_code="hotel_full", reason="No room left.")
HOTEL_CANCELLED = HotelCancelled(order_id=TRIP_ID)
FLIGHT_BOOKED = FlightBooked(order_id=TRIP_ID, seat="4A")
FLIGHT_FULL = FlightFull(order_id=TRIP_ID, reason_code="flight_full", reason="No seat left.")
FLIGHT_CANCELLED = FlightCancelled(order_id=TRIP_ID)
VISA_GRANTED = VisaGranted(order_id=TRIP_ID, number=7)
TRIP_PAID = TripPaid(order_id=TRIP_ID)
PAYMENT_DECLINED = PaymentDeclined(order_id=TRIP_ID, reason_code="declined", reason="No cover.")
TICKETS_SENT = TicketsSent(order_id=TRIP_ID)
TRAVELLER_TOLD = TravellerTold(order_id=TRIP_ID)
