"""Records that nobody should send, on every topic, against the real services."""
