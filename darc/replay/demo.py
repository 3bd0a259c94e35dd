"""The demo: a node at work on half a minute of candidates with known bursts among them.

python -m darc.replay.demo [--duration S] [--bursts N] [--seed N] [--home DIR] [--no-keep]
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from darc.node.files import packaged
from darc.replay import demo_bursts
from darc.replay.demo_bursts import Outcome
from darc.replay.demo_dbevent import DumpRequests
from darc.replay.demo_interrupt import Interruptible
from darc.replay.demo_node import DemoError, TemporaryNode
from darc.replay.demo_screen import Screen, Snapshot, burst_table
from darc.replay.generator import Generated, timed_files
from darc.replay.observation import MadeObservation, write_observation
from darc.replay.player import Player, Written
from darc.science.galaxy import load_galaxy_map

# Between the node's start and the observation's.
LEAD_SECONDS = 1.5
LOOK_SECONDS = 0.25
# What is open when the observation is stopped is done in a moment; more would be a defect.
OVER_SECONDS = 60.0
# Towards the Galactic north pole the Milky Way is thin: right ascension and declination, deg.
POINTING = (192.859, 27.128)
TASK_ID = "demo"
INTERRUPTED = 130


@dataclass
class Demo:
    """One run.

    :param duration: of the observation, s
    """

    node: TemporaryNode
    console: Console
    duration: float
    generated: Generated
    dumps: DumpRequests
    written: list[Written] = field(default_factory=list)
    stop_player: threading.Event = field(default_factory=threading.Event)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def run(self) -> Outcome:
        """Start the node, run the observation, and tell what was found.

        :raises DemoError: something did not go as it should
        """
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
            with Screen(self.console, self.generated.truth, self.duration) as screen:
                self._watch(screen, observation)
        finally:
            self.stop_player.set()
            player.join()
        return self._outcome()

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
        self.node.ask("start_observation", payload=observation.parset)
        return observation

    def _play(self, observation: MadeObservation) -> None:
        start = time.monotonic() + observation.start - time.time()
        files = timed_files(self.generated, beam=0)
        Player(observation.amber_dir, files, log=self.written).play(self.stop_player, start=start)

    def _watch(self, screen: Screen, observation: MadeObservation) -> None:
        """Show what happens until the observation is over, and stop it at its end."""
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
        screen.show(self._look("over", observation))

    def _look(self, phase: str, observation: MadeObservation) -> Snapshot:
        return Snapshot(
            elapsed=time.time() - observation.start,
            phase=phase,
            states=self.node.states(),
            written=sum(group.lines for group in list(self.written)),
            counts=self.node.counts(TASK_ID),
            depths=self.node.master_attribute("queue_depths"),
            outcome=self._outcome(),
        )

    def _outcome(self) -> Outcome:
        triggers = demo_bursts.triggers_in(self.node.log("dada_trigger"), TASK_ID)
        return demo_bursts.match(self.generated.truth, triggers)

    def report(self, outcome: Outcome) -> None:
        """Print the table of bursts, and what it means."""
        self.say("\nThe bursts that were put in, and the triggers that came of them:")
        self.console.print(burst_table(self.generated.truth, outcome))
        found, all_ = sum(map(bool, outcome.found)), len(outcome.found)
        self.say(f"{found} of {all_} bursts found.")
        galaxy = load_galaxy_map(packaged("conf/galaxy_ymw16.npz"))
        self.say(
            "DMs are in pc cm-3. This observation points to the Galactic north pole, where\n"
            f"the Milky Way accounts for {galaxy.dm_max(0, 90):.1f} at most ({galaxy.model})."
        )
        alerts = demo_bursts.triggers_in(self.node.log("lofar_trigger"), TASK_ID)
        self.say(f"Strong enough for LOFAR and a VOEvent as well (not sent here): {len(alerts)}.")
        if outcome.echoes:
            self.say(f"Beside these, the same bursts seen at wrong DMs: {len(outcome.echoes)}.")
        if outcome.others:
            self.say(f"Triggers that no burst explains: {len(outcome.others)}.")
        if self.dumps.received:
            self.say(
                f"{self.dumps.received} requests for dumps came to a stand-in of dada_dbevent."
            )
        self.say(
            "(thresh_iquv.interval is 0 here, so that every burst may trigger; by default\n"
            "at most one request for a dump leaves in 60 s.)"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m darc.replay.demo",
        description="A node of its own at work on made candidates with known bursts among them.",
    )
    parser.add_argument("--duration", type=float, default=30.0, metavar="S", help="default: 30")
    parser.add_argument("--bursts", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--seed", type=int, default=3, metavar="N", help="of bursts and noise")
    parser.add_argument("--home", type=Path, metavar="DIR", help="of the node; default: temporary")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the home with logs and status page",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 only if every burst was found and nothing is left running."""
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 80)
    dumps = DumpRequests()
    try:
        generated = demo_bursts.make(options.bursts, options.duration, options.seed)
        node = TemporaryNode(
            options.home,
            {
                "darc_master": {"setup_time": LEAD_SECONDS},
                "amber_clustering": {
                    "clustering_window": demo_bursts.WINDOW,
                    "dm_bin_top": demo_bursts.DM_BIN_TOP,
                    "thresh_iquv": {"interval": 0},
                },
                "dada_trigger": {"port_i": dumps.port, "port_iquv": dumps.port},
                "status_website": {"interval": 1.0},
            },
        )
    except (ValueError, DemoError, OSError) as error:
        parser.error(str(error))
    demo = Demo(node, console, options.duration, generated, dumps)
    demo.say(
        f"DARC demo: a node of its own reads {options.duration:g} s of made telescope output with"
        f" {options.bursts} bursts\nin it, as it is written, and has to find each of them. Only"
        f" {node.home} is\nused, no other system is talked to, and Ctrl-C stops it at any"
        " moment.\n"
    )
    return _run(demo, options.keep)


def _run(demo: Demo, keep: bool) -> int:
    status = 1
    try:
        with Interruptible():
            outcome = demo.run()
            demo.report(outcome)
            status = 0 if outcome.complete else 1
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (DemoError, OSError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
    finally:
        left = demo.node.stop()
        demo.dumps.close()
    if status == INTERRUPTED:
        demo.say("\nInterrupted.")
    if left:
        demo.say(f"LEFT RUNNING: processes {', '.join(str(process.pid) for process in left)}")
        status = status or 1
    else:
        demo.say("The node is stopped, and none of its processes is left.")
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
