"""The fault harness: a stack whose every connection runs through a proxy, and rounds that break it on purpose."""
