"""What voevent_generator can lose."""

from __future__ import annotations

import logging
from typing import Any

from darc.model.event import RoadName
from darc.node.losses import LossKind
from darc.services.base.alerts import CANNOT_BE_TOLD
from darc.services.base.chats import PEOPLE_NOT_TOLD
from darc.services.base.service import Service

log = logging.getLogger(__name__)

VOEVENT_GIVEN_UP = LossKind(
    "voevent_given_up",
    "a VOEvent was not published: the broker did not take it",
    "See voevent_generator.broker_host and broker_port, and the broker's log. The event is in"
    " voevent_dir, and can be sent by hand (comet-sendvo).",
)
VOEVENT_NOT_KEPT = LossKind(
    "voevent_not_kept",
    "a VOEvent was not written to a file; it was sent all the same",
    "Make room or give rights: voevent_generator.voevent_dir.",
)
NOTICE_GIVEN_UP = LossKind(
    "notice_given_up",
    "a notice about a burst was not published: the other side did not acknowledge it",
    "`darc alerts` shows by which road and why. See voevent_generator.kafka, webhook or file.",
)
NOTICE_LATE = LossKind(
    "notice_late",
    "a burst is not published yet: a road has not acknowledged its notice, which is tried on",
    "`darc alerts` shows by which road and why. See the road's settings, and the broker or server"
    " behind it; what is not acknowledged within give_up_after is given up.",
)
NOTICE_INVALID = LossKind(
    "notice_invalid",
    "a notice about a burst was not sent: it is not valid by its schema",
    "An error of DARC, or a value of the trigger that cannot be: it is named. Please report it.",
)
VOEVENT_INVALID = LossKind(
    "voevent_invalid",
    "a VOEvent was not made; the notice about the burst was, for the other roads",
    "An error of DARC, or a value that XML cannot hold: it is named. Please report it.",
)
TEST_NOT_ACKNOWLEDGED = LossKind(
    "test_not_acknowledged",
    "a test notice was not acknowledged: bursts would not leave by that road either",
    "`darc alerts` shows why. See the road's settings, and the broker or server behind it.",
)
ORDER_NOT_SENT = LossKind(
    "order_not_sent",
    "what a person said of an announced burst was not sent",
    "The reason is named. Enable the road that the burst left by, and say it again (darc alerts).",
)
REPORT_REFUSED = LossKind(
    "report_refused",
    "the Transient Name Server has refused the report of a burst",
    "The reason is named. Repair it (voevent_generator.tns), and say `darc alerts report` again.",
)
REPORT_NOT_ANSWERED = LossKind(
    "report_not_answered",
    "a burst that was reported to the Transient Name Server has no name",
    "`darc alerts show` has the number of the report, for the TNS. `darc alerts report` again asks"
    " once more, before it sends anything.",
)
RETRACTION_OWED = LossKind(
    "retraction_owed",
    "a retraction has not left by every road by which its burst has: there it is believed still",
    "`darc alerts show` names the roads. It leaves by itself when sending and the road are enabled"
    " and configured; where the road gave it up, say `darc alerts retract` again.",
)
ALERT_LOSSES = (
    RETRACTION_OWED,
    REPORT_REFUSED,
    REPORT_NOT_ANSWERED,
    ORDER_NOT_SENT,
    VOEVENT_GIVEN_UP,
    VOEVENT_NOT_KEPT,
    NOTICE_GIVEN_UP,
    NOTICE_LATE,
    PEOPLE_NOT_TOLD,
    NOTICE_INVALID,
    VOEVENT_INVALID,
    TEST_NOT_ACKNOWLEDGED,
)


def given_up(road: RoadName) -> LossKind:
    """Return the kind of a loss on a road."""
    if road is RoadName.CHAT:
        return PEOPLE_NOT_TOLD
    return VOEVENT_GIVEN_UP if road is RoadName.VTP else NOTICE_GIVEN_UP


def cannot_be_told(
    service: Service[Any], identity: str, error: Exception, kind: LossKind = CANNOT_BE_TOLD
) -> None:
    """Log and count that a notice cannot be composed; of a defect, with where it is."""
    expected = isinstance(error, ValueError | ArithmeticError | OSError)
    why = str(error) if expected else f"{type(error).__name__}: {error}"
    log.error("no VOEvent of %s: %s", identity, why, exc_info=None if expected else error)
    service.lost(kind, identity, why)
