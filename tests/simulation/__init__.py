"""The whole platform in one process, on a simulated clock, log and store."""
