"""No statistics on documents"""

from alembic import op

from migrations.messaging import analyze_again, unanalyze

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

_DOCUMENTS = {
    "sagas": ("data",),
    "saga_journal": ("detail",),
}


def upgrade() -> None:
    unanalyze(_DOCUMENTS)
    op.execute("ALTER TABLE sagas SET (autovacuum_analyze_scale_factor = 0.2)")


def downgrade() -> None:
    analyze_again(_DOCUMENTS)
    op.execute("ALTER TABLE sagas SET (autovacuum_analyze_scale_factor = 0.05)")
