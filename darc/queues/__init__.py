"""The queues between services: journal, server and client."""
