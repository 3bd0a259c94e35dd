"""Base classes of the services, and what several of them share."""

from darc.services.base.service import Consumer, Service

__all__ = ["Consumer", "Service"]
