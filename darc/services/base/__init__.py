"""What every service is, and what several of them have in common."""

from darc.services.base.service import Consumer, Service

__all__ = ["Consumer", "Service"]
