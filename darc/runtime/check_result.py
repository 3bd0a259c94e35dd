"""Result of a check of ``darc doctor``; services give those about what they alone know."""

from __future__ import annotations

import enum

from darc.config.records import Struct


class Verdict(enum.StrEnum):
    """Verdict of a check."""

    OK = "OK"
    WARNING = "warning"
    WRONG = "wrong"


class CheckResult(Struct, frozen=True):
    """Result of a check.

    :param remedy: what to do, or a command
    """

    verdict: Verdict
    text: str
    remedy: str = ""


def good(text: str) -> CheckResult:
    return CheckResult(Verdict.OK, text)


def warn(text: str, remedy: str = "") -> CheckResult:
    return CheckResult(Verdict.WARNING, text, remedy)


def wrong(text: str, remedy: str = "") -> CheckResult:
    return CheckResult(Verdict.WRONG, text, remedy)
