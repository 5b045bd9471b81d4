"""The gateway's rules, without I/O: text, passwords, orders, refresh tokens, idempotency."""
