"""The databases' making: roles and databases (provision), and every service's tables (Alembic)."""
