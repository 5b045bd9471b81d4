"""The read model made anew from the topics' first records, beside the live one and while that goes on."""

from order_history.rebuild.rebuild import Rebuild, RebuildRefused, Report

__all__ = ["Rebuild", "RebuildRefused", "Report"]
