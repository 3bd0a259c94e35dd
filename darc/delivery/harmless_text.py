"""Text of others in messages to people: a source's name, a line of a log, a reason.

Targets show text as Markdown, as HTML, or in ways of their own. What could mention people, be a
link or an image, or change the look of what follows is replaced by characters that look alike, so
that it is harmless in all of them, also where it is copied from one to another.
"""

from __future__ import annotations

import re

_ALIKE = str.maketrans(
    {
        "@": "\uff20",  # @here, @channel, user names
        "<": "\u2039",
        ">": "\u203a",
        "&": "\uff06",  # entities of HTML
        "*": "\u2217",
        "`": "'",
        "[": "(",
        "]": ")",
        "|": "\u00a6",
        "\\": "\uff3c",
        "~": "\u223c",
        "#": "\uff03",  # headings, channels
    }
)
#: Not within a word, where it is part of a name.
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_LINK = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})|(?i:(?<=www)\.)|:(?=//)")
_UNLINKED = {".": "\u2024", ":": "\ua789"}


def harmless(text: str, limit: int = 1000) -> str:
    """Return a text of others on one line, without any markup.

    :param limit: characters; the rest is left out
    """
    line = " ".join(text.split())
    if len(line) > limit:
        line = line[: limit - 3] + "..."
    line = "".join(one if one.isprintable() else "?" for one in line).translate(_ALIKE)
    line = _LINK.sub(lambda found: _UNLINKED[found[0]], line)
    return _EMPHASIS.sub("\u02cd", line)
