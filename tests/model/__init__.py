"""The model check: the real saga engine and the real participants under every interleaving of a small world."""
