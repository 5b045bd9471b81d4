"""Keeps the orders: what was asked for, what it came to, and how it ended."""
