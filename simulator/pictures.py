"""Makes the pictures of the documentation: a node at work, results, a candidate.

python -m simulator.pictures [DIR]        (make pictures)

It runs a node of its own, whose telescope and search engine are simulated, and takes screenshots of
its pages with Chromium (Debian's package chromium).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageChops

from simulator import demo_bursts
from simulator.comet_broker import BrokerError
from simulator.demo import SECTIONS
from simulator.demo_node import DemoError, TemporaryNode
from simulator.demo_receivers import Receivers
from simulator.observe import play, some_bursts, write_parset
from simulator.write_parsets import MadeObservation

#: What docs/ shows.
STATUS, RESULTS, CANDIDATE = "status_page.png", "results_page.png", "candidate.png"
#: The observation: its start after all is made, its length (s), and the bursts in it.
START_SECONDS, DURATION, BURSTS, SEED = 20.0, 40.0, 5, 4
#: So many triggers are to be on the status page.
TRIGGERS = 3
PATIENCE_SECONDS = 120.0
#: Of the window, pixels; what is empty at its end is cut off.
WIDTH, HEIGHT = 1200, 2400
MARGIN, COLOURS = 24, 128
#: A page at rest: its pictures, which are loaded once it is laid out, are waited for.
AT_REST = "--virtual-time-budget=5000"
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


def make_pictures(directory: Path) -> None:
    """Make all pictures.

    :param directory: made if it is missing
    :raises DemoError: something did not go as it should, or Chromium is not installed
    :raises BrokerError: the VOEvent broker does not run
    :raises OSError: a file cannot be written
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _node() as node, _observation(node) as observation:
        _wait_for(lambda: _triggers(node, observation) >= TRIGGERS, "triggers")
        # The page is to have something to say.
        node.ask("stop", "lofar_trigger")
        _wait_for(lambda: "lofar_trigger on demo" in node.status_page.read_text(), "problem")
        screenshot(node.status_page, directory / STATUS)
        _wait_for(lambda: time.time() > observation.start + DURATION, "end")
        node.ask("stop_observation", payload=observation.parset)
        page = _results(node)
        screenshot(page, directory / RESULTS, AT_REST)
        brightest = max(page.parent.glob("pictures/*.png"), key=_snr)
        with Image.open(brightest) as image:
            _reduce(image, directory / CANDIDATE)


def screenshot(page: Path, picture: Path, *options: str) -> None:
    """Show a page in a browser, and write what is seen of it.

    :raises DemoError: Chromium is not installed, or has failed
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise DemoError("Chromium is not installed (Debian's package chromium)")
    with tempfile.TemporaryDirectory() as place:
        shot = Path(place) / "shot.png"
        words = (f"--user-data-dir={place}", f"--window-size={WIDTH},{HEIGHT}")
        done = subprocess.run(
            [chromium, *CHROMIUM, *options, *words, f"--screenshot={shot}", page.as_uri()],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if not shot.exists():
            raise DemoError(f"{chromium}: no screenshot of {page}: {done.stderr}")
        _reduce(Image.open(shot), picture)


def _reduce(image: Image.Image, picture: Path) -> None:
    """Cut off what is empty below, and write it small."""
    image = image.convert("RGB")
    empty = Image.new("RGB", image.size, image.getpixel((0, image.height - 1)))
    box = ImageChops.difference(image, empty).getbbox()
    bottom = min(image.height, box[3] + MARGIN) if box else image.height
    image.crop((0, 0, image.width, bottom)).quantize(COLOURS).save(picture, optimize=True)


# -- what is shown ---------------------------------------------------------------------------------


@contextmanager
def _node() -> Iterator[TemporaryNode]:
    """A node, and receivers of what it sends."""
    node = TemporaryNode(sections=SECTIONS)
    receivers = Receivers()
    try:
        receivers.start()
        node.configure(receivers.sections)
        node.start()
        receivers.begin(time.time() + START_SECONDS)
        yield node
    finally:
        node.stop()
        node.remove()
        receivers.close()


@contextmanager
def _observation(node: TemporaryNode) -> Iterator[MadeObservation]:
    """An observation that is played to the node meanwhile."""
    observation = write_parset(
        node.home / "observation", duration=DURATION, start=time.time() + START_SECONDS, iquv=True
    )
    node.ask("start_observation", payload=observation.parset)
    bursts = some_bursts(BURSTS, DURATION, SEED)
    with ThreadPoolExecutor(1) as beside:
        played = beside.submit(play, observation, bursts, duration=DURATION, seed=SEED)
        yield observation
        played.result()


def _triggers(node: TemporaryNode, observation: MadeObservation) -> int:
    return len(demo_bursts.triggers_in(node.log("dada_trigger"), observation.task_id))


def _results(node: TemporaryNode) -> Path:
    """The page of results, once all of them are there."""
    site = node.home / "status" / "triggers_realtime"

    def done() -> list[Path]:
        pages = site.glob("*/*/index.html")
        return [page for page in pages if "1 of 1" in page.read_text()]

    _wait_for(lambda: bool(done()), "results")
    return done()[0]


def _snr(picture: Path) -> int:
    return int(picture.stem.rpartition("SNR")[2])


def _wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise DemoError(f"no {what} after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulator.pictures", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=Path("docs/images"))
    options = parser.parse_args(arguments)
    try:
        make_pictures(options.directory)
    except (DemoError, BrokerError, OSError, subprocess.SubprocessError) as error:
        print(f"no pictures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
