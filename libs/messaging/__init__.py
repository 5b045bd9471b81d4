"""How messages travel: envelope, codec, consumer and producer; the only place that knows Kafka."""
