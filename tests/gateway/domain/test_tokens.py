"""What a refresh token is good for, and how one follows from another."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from gateway.domain.tokens import TOKEN_LENGTH, RefreshToken, Verdict, first_token, hashed, judge, successor
from libs.contracts.values import UserId

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
GRACE = timedelta(seconds=10)


def token(*, used: float | None = None, revoked: bool = False, expires: float = 60) -> RefreshToken:
    """A token used so many seconds ago that expires in so many."""
    return RefreshToken(
        family_id=uuid4(),
        user_id=UserId(uuid4()),
        expires_at=NOW + timedelta(seconds=expires),
        used_at=None if used is None else NOW - timedelta(seconds=used),
        revoked_at=NOW if revoked else None,
    )


@pytest.mark.parametrize(
    ("presented", "verdict"),
    [
        (token(), Verdict.ROTATE),
        (token(used=0), Verdict.REPEAT),
        (token(used=-1), Verdict.REPEAT),
        (token(used=10), Verdict.REPEAT),
        (token(used=10.001), Verdict.REUSE),
        (token(used=86_400), Verdict.REUSE),
        (token(expires=0), Verdict.REFUSE),
        (token(expires=-1, used=100), Verdict.REFUSE),
        (token(revoked=True), Verdict.REFUSE),
        (token(revoked=True, used=1), Verdict.REFUSE),
    ],
)
def test_verdicts(presented: RefreshToken, verdict: Verdict) -> None:
    assert judge(presented, NOW, GRACE) is verdict


def test_a_successor_is_the_same_each_time_and_needs_the_key() -> None:
    first = first_token()
    assert len(first) == TOKEN_LENGTH
    assert successor(first, b"key") == successor(first, b"key")
    assert len({first, successor(first, b"key"), successor(first, b"other"), first_token()}) == 4
    assert len(successor(first, b"key")) == TOKEN_LENGTH


def test_what_is_stored_is_a_hash_whatever_was_sent() -> None:
    assert len(hashed(first_token())) == len(hashed("")) == len(hashed("ünïcode 東")) == 32
