"""The demo: a node processes half a minute of candidates that include known bursts.

Its triggers go to the demo's own receivers on this machine.

python -m simulator.demo [--duration S] [--bursts N] [--seed N] [--home DIR] [--no-keep]
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from darc.config.records import Struct, field
from darc.runtime.program import INTERRUPTED, LONGEST, number, whole
from simulator import demo_bursts
from simulator.comet_broker import BrokerError
from simulator.demo_candidate import show_candidate
from simulator.demo_deliveries import deliver
from simulator.demo_interrupt import Interruptible
from simulator.demo_node import DemoError, TemporaryNode
from simulator.demo_receivers import Receivers
from simulator.demo_report import report, say
from simulator.demo_screen import Screen, Snapshot
from simulator.demo_tables import Results
from simulator.generator import Generated, timed_files
from simulator.player import Player, WrittenLines
from simulator.write_parsets import MadeObservation, write_observation

# Between the node's start and the observation's.
LEAD_SECONDS = 1.5
LOOK_SECONDS = 0.25
# What is open when the observation is stopped is done in a moment; more would be a defect.
OVER_SECONDS = 60.0
# So does what was sent: it is on its way already.
ARRIVE_SECONDS = 10.0
# Towards the Galactic north pole the Milky Way is thin: right ascension and declination, deg.
POINTING = (192.859, 27.128)
TASK_ID = "demo"
#: The node's configuration, but for where the receivers are.
SECTIONS: dict[str, dict[str, Any]] = {
    "darc_master": {"setup_time": LEAD_SECONDS},
    "amber_clustering": {
        "settle": demo_bursts.SETTLE,
        "interval": demo_bursts.GATHER,
        "clustering_window": demo_bursts.WINDOW,
        "dm_bin_top": demo_bursts.DM_BIN_TOP,
        "thresh_iquv": {"interval": 0},
        "thresh_lofar": {"snr_min": demo_bursts.ALERT_SNR},
    },
    "status_website": {"interval": 1.0},
}


class Demo(Struct):
    """A run of the demo.

    :param duration: duration of the observation, s
    """

    node: TemporaryNode
    console: Console
    duration: float
    generated: Generated
    receivers: Receivers
    written: list[WrittenLines] = field(default_factory=list)
    stop_player: threading.Event = field(default_factory=threading.Event)

    def say(self, text: str) -> None:
        say(self.console, text)

    def run(self) -> Results:
        """Start receivers and node, run the observation, and return the results.

        :raises DemoError: the demo failed
        :raises BrokerError: the VOEvent broker is not running
        """
        self.say(f"Starting the receivers: {self.receivers} ...")
        self.receivers.start()
        self.node.configure(self.receivers.sections)
        began = time.monotonic()
        self.say("Starting a node: supervisord, the master and every service ...")
        self.node.start()
        self.say(
            f"{len(self.node.states())} services run after {time.monotonic() - began:.1f} s."
            " In another terminal you can ask, too:"
        )
        self.say(
            f"  DARC_HOME={self.node.home} DARC_HOSTNAME={self.node.run_dir.name}"
            f" {Path(sys.executable).parent}/darc --service all status\n"
        )
        observation = self._begin()
        player = threading.Thread(target=self._play, args=(observation,), daemon=True)
        player.start()
        try:
            with Screen(self.console, self.duration) as screen:
                self._watch(screen, observation)
        finally:
            self.stop_player.set()
            player.join()
        return self._results()

    def _begin(self) -> MadeObservation:
        observation = write_observation(
            self.node.home / "observation",
            task_id=TASK_ID,
            source="DEMO",
            start=time.time() + LEAD_SECONDS,
            duration=self.duration,
            instances=demo_bursts.INSTANCES,
            n_sbs=demo_bursts.SEARCH.beams,
            pointing=POINTING,
        )
        self.receivers.begin(observation.start)
        self.node.ask("start_observation", payload=observation.parset)
        return observation

    def _play(self, observation: MadeObservation) -> None:
        start = time.monotonic() + observation.start - time.time()
        files = timed_files(self.generated, beam=0)
        Player(observation.amber_dir, files, log=self.written).play(self.stop_player, start=start)

    def _watch(self, screen: Screen, observation: MadeObservation) -> None:
        """Show the progress of the observation, and stop it at its end."""
        end = observation.start + self.duration
        while time.time() < end:
            phase = "starts" if time.time() < observation.start else "observing"
            screen.show(self._look(phase, observation))
            time.sleep(min(LOOK_SECONDS, max(0.0, end - time.time())))
        self.node.ask("stop_observation", payload=observation.parset)
        deadline = time.monotonic() + OVER_SECONDS
        while TASK_ID in self.node.master_attribute("observations"):
            if time.monotonic() > deadline:
                raise DemoError(f"the observation is not over {OVER_SECONDS:.0f} s after its stop")
            screen.show(self._look("finishing", observation))
            time.sleep(LOOK_SECONDS)
        deadline = time.monotonic() + ARRIVE_SECONDS
        while self._results().deliveries.awaited and time.monotonic() < deadline:
            screen.show(self._look("delivering", observation))
            time.sleep(LOOK_SECONDS)
        screen.show(self._look("over", observation))

    def _look(self, phase: str, observation: MadeObservation) -> Snapshot:
        return Snapshot(
            elapsed=time.time() - observation.start,
            phase=phase,
            states=self.node.states(),
            written=sum(group.lines for group in list(self.written)),
            counts=self.node.counts(TASK_ID),
            depths=self.node.master_attribute("queue_depths"),
            results=self._results(),
        )

    def _results(self) -> Results:
        truths = self.generated.truth
        triggers = demo_bursts.triggers_in(self.node.log("dada_trigger"), TASK_ID)
        return Results(
            truths,
            demo_bursts.match(truths, triggers),
            deliver(truths, list(self.written), self.receivers.arrivals(), self.receivers.channels),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.demo",
        description="Run a temporary node on simulated candidates that include known bursts.",
    )
    parser.add_argument(
        "--duration", type=number(1, LONGEST), default=30.0, metavar="S", help="default: 30"
    )
    parser.add_argument(
        "--bursts", type=whole(0, 10_000), default=5, metavar="N", help="default: 5"
    )
    parser.add_argument(
        "--seed", type=whole(0, 2**63), default=13, metavar="N", help="of bursts and noise"
    )
    parser.add_argument("--home", type=Path, metavar="DIR", help="of the node; default: temporary")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the home with logs and status page",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if all bursts were found and sent, and no process is left."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 80)
    try:
        generated = demo_bursts.make(options.bursts, options.duration, options.seed)
        node = TemporaryNode(options.home, SECTIONS)
    except (ValueError, DemoError, OSError) as error:
        parser.error(str(error))
    demo = Demo(node, console, options.duration, generated, Receivers())
    demo.say(
        f"DARC demo: a node of its own reads {options.duration:g} s of simulated candidates, as\n"
        f"they are written, has to find the {options.bursts} bursts among them, and to alert\n"
        "other systems: stand-ins of the demo's own, on this machine. Ctrl-C stops\n"
        "everything at any moment.\n"
    )
    return _run(demo, options.keep)


def _run(demo: Demo, keep: bool) -> int:
    status = 1
    try:
        with Interruptible():
            results = demo.run()
            report(demo.console, results)
            status = 0 if results.complete else 1
            show_candidate(demo.console, demo.node.home / "sample")
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (DemoError, BrokerError, OSError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
    finally:
        left = demo.node.stop()
        demo.receivers.close()
    if status == INTERRUPTED:
        demo.say("\nInterrupted.")
    if left:
        demo.say(f"LEFT RUNNING: processes {', '.join(str(process.pid) for process in left)}")
        status = status or 1
    else:
        demo.say("The node and the receivers are stopped, and none of their processes is left.")
    _say_where(demo, keep and not (status == INTERRUPTED and not demo.node.log_dir.exists()))
    return status


def _say_where(demo: Demo, keep: bool) -> None:
    if not keep:
        demo.node.remove()
        return
    node = demo.node
    if node.status_page.exists():
        demo.say(f"Status page: file://{node.status_page}")
    demo.say(f"Logs:        {node.log_dir}")
    demo.say(f"All of it can go: rm -r {node.home}")


if __name__ == "__main__":
    sys.exit(main())
