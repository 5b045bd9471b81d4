"""Crash points: each named place in the running services ends a process once under load, and the books still balance."""
