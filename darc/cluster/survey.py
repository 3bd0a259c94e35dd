"""Survey control: start, stop and abort observations on all participating nodes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from darc.cluster.node_orders import chosen_nodes
from darc.config.config import Config, Role
from darc.config.records import Struct, field, to_builtins
from darc.model.message import RUNNING_ALREADY
from darc.model.node_parsets import MASTER_NAME, NodeParsets, make_node_parsets, worker_name
from darc.model.observation import ObservationError, ObservationProblem
from darc.model.parset import Parset, parse_parset
from darc.node.command_client import ask
from darc.node.node_config import load_node_config
from darc.runtime.fan_out import fan_out
from darc.runtime.paths import users_home

log = logging.getLogger(__name__)

Action = Literal["start", "stop", "abort"]
ACTIONS: tuple[Action, ...] = ("start", "stop", "abort")
TIMEOUT = 10.0
#: Largest size of the telescope's parset, bytes; it has some ten kilobytes.
MAX_FILE = 2**20
# A name that is looked up keeps a node's thread for longer than its timeout; not the others.
GRACE_SECONDS = 1.0


class NodeShare(Struct, frozen=True):
    """Parset of an observation for one node.

    :param beam: compound beam of the node; None: the master node
    """

    node: str
    beam: int | None
    name: str
    text: str = field(name="content")


class SurveyPlan(Struct, frozen=True):
    """An observation, and the parsets of its nodes.

    :param shares: parsets of the nodes
    :param without_node: observed compound beams without a node in the cluster
    """

    task_id: str
    datetimesource: str
    shares: tuple[NodeShare, ...] = field(name="nodes")
    without_node: tuple[int, ...]


class NodeAnswer(Struct, frozen=True):
    """Reply of a node.

    :param is_in: whether the node takes part
    :param status: Success, Warning or Error; empty if it did not reply
    :param message: its reply, or why there is none
    """

    node: str
    beam: int | None
    is_in: bool = field(name="in")
    status: str
    message: str


class SurveyResult(Struct, frozen=True):
    """Result of a command: which nodes take part."""

    action: Action
    task_id: str
    datetimesource: str
    nodes: tuple[NodeAnswer, ...]
    without_node: tuple[int, ...]

    @property
    def complete(self) -> bool:
        """Whether all nodes that got the command take part."""
        return all(node.is_in for node in self.nodes)

    def to_plain(self) -> dict[str, Any]:
        """Return dicts, lists and scalars."""
        return {
            "action": self.action,
            "task_id": self.task_id,
            "datetimesource": self.datetimesource,
            "complete": self.complete,
            "nodes": [to_builtins(one) for one in self.nodes],
            "without_node": list(self.without_node),
        }


def observe(
    action: Action,
    parset: Path | str,
    config: Config | None = None,
    *,
    timeout: float = TIMEOUT,
    nodes: Sequence[str] = (),
    home: str | None = None,
) -> SurveyResult:
    """Start, stop or abort an observation on the master node and all participating workers.

    The nodes get the command in parallel; one that does not reply delays no other. Repeating a
    command is safe.

    :param action: start, stop or abort
    :param parset: path of the telescope's parset
    :param config: configuration; default: this node's
    :param timeout: s for a node to reply
    :param nodes: only these nodes, names or ranges; default: all
    :param home: value of the placeholder {home} in the parset; default: the user's home
    :raises ObservationError: the parset does not describe an observation; no command was sent
    :raises ConfigError: the configuration is invalid, or a named node is not in the cluster
    :raises OSError: the parset or the configuration cannot be read
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is not one of {', '.join(ACTIONS)}")
    config = config or load_node_config()
    plan = plan_observation(parset, config, nodes=nodes, home=home)
    return tell(action, plan, config, timeout)


def plan_observation(
    parset: Path | str, config: Config, *, nodes: Sequence[str] = (), home: str | None = None
) -> SurveyPlan:
    """Return which node gets which parset, without sending anything. See `observe`."""
    chosen = chosen_nodes(config, nodes)
    alone = config.role is Role.STANDALONE
    telescope = _read(Path(parset))
    made = make_node_parsets(telescope, config.instrument, home=home or users_home() or "{home}")
    if alone:
        shares = [_worker(config.hostname, made.beams[0], made)]
        without = made.beams[1:]
    else:
        workers = dict(enumerate(config.cluster.workers))
        shares = [NodeShare(config.nodes()[0], None, MASTER_NAME, made.master)]
        shares += [_worker(workers[beam], beam, made) for beam in made.beams if beam in workers]
        without = tuple(beam for beam in made.beams if beam not in workers)
    selected = tuple(share for share in shares if share.node in chosen)
    if nodes and len(selected) < len(chosen):
        idle = set(chosen) - {share.node for share in selected}
        allowed = "nodes whose compound beam is observed"
        what = f"not observed with {', '.join(sorted(idle))}"
        raise ObservationError(ObservationProblem(telescope.name, 0, "beams", None, allowed, what))
    return SurveyPlan(made.task_id, made.datetimesource, selected, without)


def tell(
    action: Action, plan: SurveyPlan, config: Config, timeout: float = TIMEOUT
) -> SurveyResult:
    """Send a command to all nodes of a plan in parallel. See `observe`."""
    # A standalone host is found by its endpoint file, wherever it listens.
    alone = config.role is Role.STANDALONE

    def tell_one(share: NodeShare) -> NodeAnswer:
        host, port = ("localhost", None) if alone else (share.node, config.master.port)
        command = f"{action}_observation"
        reply, reason = ask(timeout, None, command, share.name, host, port, share.text, values=True)
        return _answer(action, share, reply, reason)

    answers = fan_out(tell_one, plan.shares, timeout=timeout + GRACE_SECONDS)
    late = f"no answer within {timeout:g} s"
    nodes = tuple(
        answers.get(share) or NodeAnswer(share.node, share.beam, False, "", late)
        for share in plan.shares
    )
    return SurveyResult(action, plan.task_id, plan.datetimesource, nodes, plan.without_node)


def _worker(node: str, beam: int, made: NodeParsets) -> NodeShare:
    return NodeShare(node, beam, worker_name(beam), made.workers[beam])


def _answer(
    action: Action, share: NodeShare, reply: Mapping[str, Any] | None, reason: str
) -> NodeAnswer:
    if reply is None:
        return NodeAnswer(share.node, share.beam, False, "", reason)
    message = reply["message"]
    text = str(message.get("error", message) if isinstance(message, dict) else message)
    is_in = reply["status"] in ("Success", "Warning")
    code = message.get("code") if isinstance(message, dict) else None
    is_in |= action == "start" and code == RUNNING_ALREADY
    return NodeAnswer(share.node, share.beam, is_in, str(reply["status"]), text)


def _read(path: Path) -> Parset:
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    allowed = f"text in UTF-8, of at most {MAX_FILE} bytes"
    try:
        if len(data) > MAX_FILE:
            raise ValueError("too large")
        parset = parse_parset(data.decode("utf-8-sig"), str(path))
    except ValueError as error:
        if isinstance(error, ObservationError):
            raise
        what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ObservationError(
            ObservationProblem(str(path), 0, "file", None, allowed, what)
        ) from error
    for warning in parset.warnings:
        log.warning("%s", warning)
    return parset
