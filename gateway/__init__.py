"""The single entry: accounts and tokens, accepting orders, and reads passed on to the services."""
