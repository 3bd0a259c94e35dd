"""The queues between services: journal, server and client."""

from darc.queues.manager import QueueManager

__all__ = ["QueueManager"]
