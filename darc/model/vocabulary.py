"""The commands of a node."""

from __future__ import annotations

COMMANDS = {
    "status": "state of a service, or of all",
    "start": "start a service, or all",
    "stop": "stop a service, or all",
    "restart": "stop and start",
    "get_attr": "an attribute of a service, or of the master: get_attr NAME",
    "start_observation": "needs --parset, --config or --key",
    "stop_observation": "its services finish what they have; needs the same",
    "abort_observation": "its services drop what they have; needs the same",
    "lofar_status": "whether LOFAR triggering is enabled (master node)",
    "lofar_enable": "switch LOFAR triggering on",
    "lofar_disable": "switch LOFAR triggering off",
    "voevent_status": "whether VOEvents are sent (master node)",
    "voevent_enable": "switch VOEvents on",
    "voevent_disable": "switch VOEvents off",
    "reload": "read the configuration again",
    "edit": "open the configuration in $EDITOR",
    "stop_master": "stop the master and every service",
}
#: In the field ``form`` of a request: it is answered with values, not text.
VALUES = "values"
#: Those that are about the whole node, and the one service that they may be given with.
OF_THE_NODE = {
    "reload": "",
    "edit": "",
    "stop_master": "",
    "abort_all": "",
    **dict.fromkeys(("lofar_status", "lofar_enable", "lofar_disable"), "lofar_trigger"),
    **dict.fromkeys(("voevent_status", "voevent_enable", "voevent_disable"), "voevent_generator"),
}


def not_of_a_service(command: str, service: str | None) -> str:
    """Return why a command does not accept a service; empty if it does."""
    if not service or service == "all" or OF_THE_NODE.get(command, service) == service:
        return ""
    return f"{command} concerns the whole node, not {service} alone: leave out --service"
