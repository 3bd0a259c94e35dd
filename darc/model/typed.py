"""Import location for services written for version 0.1.0; see `darc.config.typed`."""

from darc.config.typed import OneOf, Range

__all__ = ["OneOf", "Range"]
