"""Where services written for version 0.1.0 find it; it is in `darc.config` now."""

from darc.config.typed import OneOf, Range

__all__ = ["OneOf", "Range"]
