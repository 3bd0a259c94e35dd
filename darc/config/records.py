"""The base of all values: msgspec's Struct, at the price of what is used of it.

msgspec takes from typing_extensions, where that is installed, what Python's own typing has since
3.11; with what it imports it costs each process 2 MB and 12 ms.
"""

from __future__ import annotations

import sys

# In sys.modules, None is a module that is not to be found.
_NAME = "typing_extensions"
_is_loaded = _NAME in sys.modules
if not _is_loaded:
    sys.modules[_NAME] = None  # type: ignore[assignment]
try:
    from msgspec import Struct, convert, field, to_builtins
    from msgspec.structs import asdict, astuple, fields, replace
finally:
    if not _is_loaded:
        del sys.modules[_NAME]

__all__ = ["Struct", "asdict", "astuple", "convert", "field", "fields", "replace", "to_builtins"]
