"""No statistics on documents"""

from migrations.messaging import analyze_again, unanalyze

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_DOCUMENTS = (
    ("outbox", "headers", "payload"),
    ("orders", "lines", "origin_from", "lines_from", "reason_from", "payment_id_from"),
    ("order_timeline", "detail"),
)


def upgrade() -> None:
    for table, *columns in _DOCUMENTS:
        unanalyze(table, *columns)


def downgrade() -> None:
    for table, *columns in _DOCUMENTS:
        analyze_again(table, *columns)
