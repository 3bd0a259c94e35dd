"""What is published of which nodes, and where."""

from __future__ import annotations

from pathlib import Path

from darc.config.records import Struct
from darc.monitor.cluster_watch import NodeTarget
from darc.monitor.findings import RuleContext
from darc.web.style import Colours


class PublisherSettings(Struct, frozen=True):
    """Settings of the publication.

    :param targets: the nodes, the master first
    :param own: name of the node that this service belongs to
    :param service: name of the service itself
    :param interval: between two updates where nothing changes (s)
    :param timeout: for a node to answer (s)
    :param address: None: nothing is served
    :param max_pages: open pages at a time that receive events
    :param results: address of the results, relative to the page; empty: no link
    """

    targets: tuple[NodeTarget, ...]
    own: str
    service: str
    context: RuleContext
    colours: Colours
    interval: float
    timeout: float
    web_dir: Path
    address: tuple[str, int] | None
    max_pages: int
    results: str = ""
