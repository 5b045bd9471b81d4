"""Keeps the catalogue: the only source of product names and prices."""
