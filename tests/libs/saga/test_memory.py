"""Tries that an instance comes back from its JSON as it was."""

import json
from datetime import timedelta

import pytest
from pydantic import ValidationError

from libs.saga.decision import Decision
from libs.saga.instance import Instance, Reason
from libs.saga.memory import dump, restore
from libs.saga.testing import given
from order_saga.create_order import OrderSheet, create_order
from tests.libs.saga.orders import DONE, SHEET
from tests.libs.saga.trips import VISA_GRANTED, Trip, booking_of


def back(instance: Instance[OrderSheet], text: str) -> Instance[OrderSheet]:
    return restore(create_order, instance.id, instance.status, instance.revision, instance.parked_at, text)


def test_a_saga_comes_back_as_it_was() -> None:
    saga = given(create_order, SHEET)
    for step in ("open_order", "validate_products"):
        saga.when(DONE[step])
    instance = saga.instance
    assert back(instance, dump(instance)) == instance
    saga.cancelled()
    assert back(saga.instance, dump(saga.instance)) == saga.instance


def test_all_that_a_saga_may_remember_comes_back() -> None:
    saga = booking_of(deadline=timedelta(days=1))
    instance = given(saga, Trip()).happened(VISA_GRANTED).instance
    full = instance._replace(kept_cancel=Reason("a", "b"), failure=Reason("c", "d"), reason=Reason("e", "f"))
    assert full.early
    assert full.expires
    assert restore(saga, full.id, full.status, full.revision, None, dump(full)) == full


def test_what_is_at_its_default_is_left_out() -> None:
    stored = json.loads(dump(given(create_order, SHEET).instance))
    assert set(stored) == {"data", "stage", "flights", "armed"}


def test_anything_else_is_refused() -> None:
    instance = given(create_order, SHEET).instance
    with pytest.raises(ValidationError):
        back(instance, '{"data": {}}')


def test_an_older_field_that_is_gone_is_ignored() -> None:
    instance = given(create_order, SHEET).instance
    stored = json.loads(dump(instance))
    stored["data"]["coupon"] = "SUMMER"
    assert back(instance, json.dumps(stored)) == instance


def test_a_decision_can_be_a_key() -> None:
    first: Decision[OrderSheet] = Decision(given(create_order, SHEET).instance)
    assert len({first, Decision(given(create_order, SHEET).instance)}) == 1
