"""Mirrors the tree; journeys go over HTTP through the whole system, faults kill things, support is what tests share."""
