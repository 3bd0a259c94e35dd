"""What people type and what they see: the transcripts of the control reference, on a real node."""

from __future__ import annotations

from nodes import Node


def test_status_of_all(running_node: Node) -> None:
    result = running_node.darc("--service", "all", "status")
    assert result.returncode == 0
    assert result.stdout == (
        "status: Success\n"
        "message: {'offline_processing': 'running', 'status_website': 'running',"
        " 'voevent_generator': 'running', 'lofar_trigger': 'running', 'processor': 'running',"
        " 'amber_listener': 'running', 'amber_clustering': 'running', 'dada_trigger': 'running'}\n"
    )
