"""Sending to systems outside until it is acknowledged: outbox, e-mail, webhook, VOEvent."""
