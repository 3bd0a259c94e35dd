"""Plot of what classifiers keep: bursts against interference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.classifier_report import THRESHOLD_FREQ_TIME, Scored


def plot_roc(tested: Mapping[str, Scored], path: Path) -> None:
    """Draw a curve for each classifier, of ARTS and of drawn instruments; dots: the threshold.

    :param tested: by the name of the classifier
    :param path: PNG to write
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 (only for this)

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, (title, arts) in zip(
        figure.subplots(1, 2, sharey=True),
        (("ARTS", True), ("drawn instruments", False)),
        strict=True,
    ):
        for name, scored in tested.items():
            some = scored[scored.table.arts == arts]
            bursts = some.freq_time[some.table.is_burst]
            others = np.sort(some.freq_time[~some.table.is_burst])[::-1]
            curve = [float((bursts > threshold).mean()) for threshold in others]
            (line,) = axes.step(
                np.arange(len(others)) / max(1, len(others)), curve, where="post", label=name
            )
            at = [float((values > THRESHOLD_FREQ_TIME).mean()) for values in (others, bursts)]
            axes.plot(*at, "o", color=line.get_color())
        axes.set(title=title, xlim=(0, 0.2), ylim=(0.5, 1.002), xlabel="interference kept")
        axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")
    figure.axes[0].set_ylabel("bursts kept")
    figure.savefig(path, dpi=100)
