"""The host that every service runs in."""
