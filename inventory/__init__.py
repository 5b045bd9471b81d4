"""Knows how much of each product there is, and for which orders it is held."""
