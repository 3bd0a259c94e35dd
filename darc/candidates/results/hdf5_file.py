"""Writing of HDF5 files of candidates."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py

from darc.runtime.paths import write_whole
from darc.science.arrays import Floats

#: Name, data of two dimensions, and the labels of these.
Dataset = tuple[str, Floats, tuple[str, str]]


def write_hdf5(path: Path, datasets: Iterable[Dataset], attributes: Mapping[str, Any]) -> None:
    """Write a file atomically; its directory is created.

    :raises OSError: the file cannot be written
    """
    memory = io.BytesIO()
    # Attributes above 64 kB, such as thousands of DMs, are impossible in the oldest format.
    with h5py.File(memory, "w", libver=("v108", "v110")) as file:
        for name, data, labels in datasets:
            # With a checksum, which detects data that a disk has damaged.
            dataset = file.create_dataset(
                name, data=data, dtype="<f4", chunks=data.shape, fletcher32=True
            )
            for axis, label in enumerate(labels):
                dataset.dims[axis].label = label
        for name, value in attributes.items():
            file.attrs[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, memory.getvalue())
