"""The read model: every event of an order folded into one row and a timeline, and the queries on them."""
