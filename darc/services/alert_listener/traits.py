"""Traits of alert_listener."""

from __future__ import annotations

from darc.runtime.service_traits import AttributeSeries, OwnCheck, ServiceTraits
from darc.services.alert_listener.settings import AlertListenerSettings

TRAITS = ServiceTraits(
    sections={"alert_listener": AlertListenerSettings},
    mails="alert_listener",
    checks=(OwnCheck("notices", "notices"),),
    measured=(
        AttributeSeries(
            "notice_stream_connected",
            "Whether a broker of notices of others is connected: 1 or 0.",
            "connected",
            is_level=True,
        ),
        AttributeSeries(
            "notices_used",
            "Notices of others that a rule acted upon.",
            "used",
        ),
    ),
)
