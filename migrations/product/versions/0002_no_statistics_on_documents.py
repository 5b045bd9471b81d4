"""No statistics on documents"""

from migrations.messaging import analyze_again, unanalyze

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    unanalyze({})


def downgrade() -> None:
    analyze_again({})
