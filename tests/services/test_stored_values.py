"""Values that services store as lists: one of a later version is refused, not read in part."""

from __future__ import annotations

import pytest

from darc.config.records import Struct, convert
from darc.config.typed import to_plain
from darc.node.losses import ENTRIES_DROPPED, Losses
from darc.runtime.clock import Since
from darc.services.base.chats import ChatNote
from darc.services.base.known_pulses import TriggeredPulse

SINCE = Since(1.5e9, "a boot", 12.5)


@pytest.mark.parametrize(
    "value",
    [
        SINCE,
        ChatNote("observers", "title", "text", SINCE),
        TriggeredPulse(1.5e9, "of1/3/2", True, 56.7, 1e-3, 12.0, "B0531+21", 56.8, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_longer_list_is_refused(value: Struct) -> None:
    plain = to_plain(value)
    assert convert(plain, type(value)) == value
    with pytest.raises(ValueError, match="array"):
        convert([*plain, "what a later version says"], type(value))


def test_losses_of_a_later_version_are_not_counted_on(caplog: pytest.LogCaptureFixture) -> None:
    losses = Losses([])
    losses.add(ENTRIES_DROPPED, "a dump", "no room")
    again = Losses([])
    again.recall({kind: [*one, "more"] for kind, one in losses.to_plain().items()})
    assert again.to_plain() == {}
    assert "stored losses cannot be read" in caplog.text
