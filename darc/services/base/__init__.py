"""What every service is, and what several of them have in common."""

from darc.services.base.service import Service

__all__ = ["Service"]
