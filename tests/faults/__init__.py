"""Kills and hinders real processes, and audits what they leave: an independent view of the books."""
