"""Final report of the demo: two tables, and explanations."""

from __future__ import annotations

import math

from rich.console import Console

from darc.runtime.paths import packaged
from darc.science.galaxy import load_galaxy_map
from simulator.demo_bursts import ALERT_SNR, SETTLE, WINDOW, is_strong
from simulator.demo_deliveries import ALERT_SETTLE, Channel
from simulator.demo_tables import Results, delivery_table, found_table

#: What the words in the table of deliveries mean.
WORDS = {
    "kept": "the raw data were still in the ring buffer, and were copied",
    "skipped": "the raw data had been read already, for the dump before",
    "too late": "the raw data had left the ring buffer",
    "TEST": "marked as a test, so that LOFAR does not freeze its buffers",
    "broadcast": "the broker took the VOEvent (a test), and a subscriber got it",
    "came": "the mail server took the e-mail that tells of the LOFAR packet",
}
NO_MAIL = "There is no mail server, as aiosmtpd is not installed: pip install 'darc[demo]'."


def say(console: Console, text: str = "") -> None:
    """Print a text as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def report(console: Console, results: Results) -> None:
    """Print the tables and explanations."""
    say(console, "\nThe bursts that were put in, and what the node found:")
    console.print(found_table(results))
    galaxy = load_galaxy_map(packaged("conf/galaxy_ymw16.npz"))
    say(
        console,
        "DMs are in pc cm-3. This observation points to the Galactic north pole, where\n"
        f"the Milky Way accounts for {galaxy.dm_max(0, 90):.1f} at most ({galaxy.model}).\n\n"
        "What was sent for them, and how long after the burst's first line was written\n"
        "it arrived: in seconds, and (in ms) without what is waited on purpose:",
    )
    console.print(delivery_table(results))
    _explain(console, results)
    _sum_up(console, results)


def _explain(console: Console, results: Results) -> None:
    rows = results.deliveries.by_burst
    used = {arrival.what for row in rows for one in row.values() for arrival in one.arrivals}
    for word in filter(used.__contains__, WORDS):
        say(console, f"{word:<10} {WORDS[word]}")
    weak = [str(n) for n, truth in enumerate(results.truths, 1) if not is_strong(truth)]
    if weak:
        say(
            console,
            f"{'—':<10} not to be sent: the limit for LOFAR and VOEvents is S/N {ALERT_SNR:g}"
            f"\n{'':<10} (thresh_lofar.snr_min), and weaker ones are put in on purpose",
        )
    if all(Channel.MAIL not in row for row in rows):
        say(console, NO_MAIL)
    say(
        console,
        f"\nDARC waits on purpose: {SETTLE:g} s for the rest of a burst's"
        f" lines;\nfor LOFAR and VOEvents, {ALERT_SETTLE:g} s more for the same burst from other"
        " beams.\nNot as by default: LOFAR and VOEvents are switched on (send_events); candidates"
        f"\nare clustered by AMBER's batches of {WINDOW:.3f} s (clustering_window); and every"
        " burst\nmay have its dump, not one in 60 s (thresh_iquv.interval).\n",
    )


def _sum_up(console: Console, results: Results) -> None:
    outcome, deliveries = results.outcome, results.deliveries
    found, all_ = sum(map(bool, outcome.found)), len(outcome.found)
    sent = (
        "All that was to be sent arrived, once, and nothing else."
        if deliveries.complete
        else "NOT as it should be: what was sent."
    )
    say(console, f"{found} of {all_} bursts found. {sent}")
    for stray in deliveries.strays:
        of = "unreadable" if math.isnan(stray.dm) else f"of no burst, DM {stray.dm:.1f}"
        say(console, f"{stray.channel} {of}: {stray.what}")
    if outcome.echoes:
        say(console, f"Beside these, the same bursts seen at wrong DMs: {len(outcome.echoes)}.")
    if outcome.others:
        say(console, f"Triggers that no burst explains: {len(outcome.others)}.")
