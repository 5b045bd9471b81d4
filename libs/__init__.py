"""What every service is made of: contracts, messaging, outbox, saga engine, service host."""
