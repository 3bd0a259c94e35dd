"""Delivery to external systems with retries: outbox, e-mail, webhook, Kafka, VOEvent."""
