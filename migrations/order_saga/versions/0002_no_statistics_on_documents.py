"""No statistics on documents"""

from alembic import op

from migrations.messaging import analyze_again, unanalyze

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_DOCUMENTS = (
    ("outbox", "headers", "payload"),
    ("sagas", "data"),
    ("saga_journal", "detail"),
)


def upgrade() -> None:
    for table, *columns in _DOCUMENTS:
        unanalyze(table, *columns)
    op.execute("ALTER TABLE sagas SET (autovacuum_analyze_scale_factor = 0.2)")


def downgrade() -> None:
    for table, *columns in _DOCUMENTS:
        analyze_again(table, *columns)
    op.execute("ALTER TABLE sagas SET (autovacuum_analyze_scale_factor = 0.05)")
