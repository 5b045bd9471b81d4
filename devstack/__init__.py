"""The embedded PostgreSQL and Kafka, and the supervisor that runs the whole platform on one machine."""
