"""Where services written for version 0.1.0 find it; it is in `darc.services.base` now."""

from darc.services.base.trigger_consumer import TriggerConsumer

__all__ = ["TriggerConsumer"]
