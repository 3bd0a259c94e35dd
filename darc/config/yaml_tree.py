"""YAML text to a tree of values with file and line, and plain values to YAML text.

PyYAML takes 14 ms and 1 MB: it is imported with the first text that is parsed or made, as most
processes of a node find their configuration parsed (:mod:`darc.node.parsed_texts`).
"""

from __future__ import annotations

from darc.config.typed import Value


def parse_yaml(text: str, name: str, *, as_text: bool = False, from_package: bool = False) -> Value:
    """Parse one YAML document.

    :param name: the file's name, for messages
    :param as_text: keep every scalar but null as it is written
    :param from_package: the text is one of this package's, which need neither limits nor exact
        messages: libyaml parses it, where PyYAML has that, thirty times as fast
    :returns: the tree; the data of an empty document is None. A value has the line of its key.
    :raises YAMLTextError: wrong syntax, a duplicate key, a tag or alias that is not allowed, or
        a document that is too large
    """
    from darc.config.pyyaml import parse  # noqa: PLC0415 - see above

    return parse(text, name, as_text=as_text, from_package=from_package)


def yaml_text(value: object, width: int = 80) -> str:
    """Return plain values as YAML, in order, such that every YAML reader gets the same values.

    :param value: dictionaries, lists, texts, numbers, truth values and None
    :param width: line length, characters
    """
    from darc.config.pyyaml import dump  # noqa: PLC0415 - see above

    return dump(value, width)
