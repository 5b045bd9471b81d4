"""What makes a message and a row one thing: outbox, inbox, offsets, relay, parked and dead messages."""
