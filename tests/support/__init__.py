"""What tests share: a real PostgreSQL and Kafka, fresh databases and topics, services to run, builders."""
