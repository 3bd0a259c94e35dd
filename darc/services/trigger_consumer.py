"""Former module name, for services written for version 0.1.0; moved to `darc.services.base`."""

from darc.services.base.trigger_consumer import TriggerConsumer

__all__ = ["TriggerConsumer"]
