"""How much a data file holds now, without reading samples, for services that wait for them."""

from __future__ import annotations

from typing import Protocol

from darc.data_files.filterbank_header import FilterbankHeader


class DataLayout(Protocol):
    """Where the samples of a file are, by its header."""

    @property
    def header(self) -> FilterbankHeader:
        """Header, in SIGPROC's terms."""

    def n_samples(self, descriptor: int, size: int) -> int:
        """Return the number of whole time samples.

        :param descriptor: of the open file, which may have to be looked at
        :param size: of the file, bytes
        :raises OSError: it cannot be read
        """
