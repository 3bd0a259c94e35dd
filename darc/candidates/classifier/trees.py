"""Boosted decision trees, evaluated with numpy alone."""

from __future__ import annotations

import math

import numpy as np

from darc.config.records import Struct
from darc.science.arrays import Floats, Shorts


class Trees(Struct, frozen=True, eq=False):
    """Trees whose leaf values add up to the log odds.

    A node continues to `left` if the feature is at most its threshold, else to `right`; a leaf
    continues to itself. Arrays have shape (n_trees, n_nodes); node 0 is the root.

    :param names: names of the features
    :param start: initial value of the sum
    :param feature: index of the feature of a node
    :param left: index of the next node; a higher one, or for a leaf its own
    :param right: index of the next node; a higher one, or for a leaf its own
    :param value: value of a leaf
    :raises ValueError: the arrays are inconsistent
    """

    names: tuple[str, ...]
    start: float
    feature: Shorts
    threshold: Floats
    left: Shorts
    right: Shorts
    value: Floats

    def __post_init__(self) -> None:
        shape = self.feature.shape
        if len(shape) != 2 or not self.feature.size:
            raise ValueError(f"no trees: an array of shape {shape}")
        for name in ("threshold", "left", "right", "value"):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        for name, end in (("feature", len(self.names)), ("left", shape[1]), ("right", shape[1])):
            places = getattr(self, name)
            if places.dtype.kind != "i" or places.min() < 0 or places.max() >= end:
                raise ValueError(f"{name} has places outside of 0 to {end - 1}")
        numbers = [self.start, self.threshold.sum(), self.value.sum()]
        if not np.all(np.isfinite(numbers)):
            raise ValueError("some numbers are not finite")
        nodes = np.arange(shape[1])
        leaf = (self.left == nodes) & (self.right == nodes)
        if not np.all(leaf | ((self.left > nodes) & (self.right > nodes))):
            raise ValueError("a branch leads back")

    def log_odds(self, features: dict[str, float]) -> float:
        """Return the log odds of a candidate.

        :param features: finite, by name
        """
        x = np.array([features[name] for name in self.names], dtype=np.float32)
        tree = np.arange(len(self.feature))
        node = np.zeros(len(tree), dtype=np.int64)
        while True:  # ends, as branches lead to later nodes only
            below = x[self.feature[tree, node]] <= self.threshold[tree, node]
            following = np.where(below, self.left[tree, node], self.right[tree, node])
            if np.array_equal(following, node):
                return self.start + float(self.value[tree, node].sum(dtype=np.float64))
            node = following

    def probability(self, features: dict[str, float]) -> float:
        """Return the probability of a candidate, 0 to 1.

        :param features: finite, by name
        """
        return 1 / (1 + math.exp(-min(max(self.log_odds(features), -500.0), 500.0)))
