"""Traits of status_website."""

from __future__ import annotations

from darc.config.settings import StatusWebsiteSettings
from darc.runtime.service_traits import ListeningPort, ServiceTraits

TRAITS = ServiceTraits(
    sections={"status_website": StatusWebsiteSettings},
    observes=False,
    port=ListeningPort("the status page", "port", "bind", needed=False),
    directory="web_dir",
)
