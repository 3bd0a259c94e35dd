"""Validation of notices by our schema, conf/gcn_frb.schema.json, without network."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from darc.runtime.paths import packaged

SCHEMA_FILE = "conf/gcn_frb.schema.json"
#: A value that is wrong is told as far as this (characters).
_SHOWN = 300


class InvalidNoticeError(ValueError):
    """A notice is not valid by the schema: an error of DARC's, or of a value of the trigger."""


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(packaged(SCHEMA_FILE).read_bytes())
    return found


def check_notice(content: bytes) -> None:
    """Validate a notice.

    :raises InvalidNoticeError: it is not valid; the message says where and why
    """
    errors = sorted(validator().iter_errors(json.loads(content)), key=str)
    if errors:
        first = errors[0]
        where = "/".join(map(str, first.absolute_path)) or "the notice"
        more = f" (and {len(errors) - 1} more)" if errors[1:] else ""
        raise InvalidNoticeError(f"not a notice: {where}: {first.message[:_SHOWN]}{more}")


@cache
def validator() -> Any:
    """Return what validates notices, with the library and the schema loaded."""
    # 0.1 s and 10 MB: for those whose events leave as notices.
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    content = schema()
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)
