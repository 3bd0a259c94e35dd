"""Colours of the pages as CSS properties, for light and dark mode."""

from __future__ import annotations

from collections.abc import Mapping

from darc.config.css_colour import Colour, parse_colour
from darc.config.records import Struct

_WHITE = Colour(255, 255, 255)
#: Colour of transient states, neither good nor bad.
_AMBER = Colour(0xD9, 0x8A, 0x00)
#: Contrast ratios of WCAG, level AA: of text, and of other elements.
TEXT, SIGN = 4.5, 3.0


class Colours(Struct, frozen=True):
    """Configured colours."""

    good: str
    bad: str
    unknown: str


def properties(colours: Colours) -> str:
    """Return the colours as CSS properties, legible in light and dark mode."""
    base = {
        "good": parse_colour(colours.good),
        "bad": parse_colour(colours.bad),
        "changing": _AMBER,
        "unknown": parse_colour(colours.unknown),
    }
    light = _Ground(
        ink=Colour(0x16, 0x1A, 0x1F),
        canvas=Colour(0xF3, 0xF4, 0xF6),
        surface=_WHITE,
        line=Colour(0xE4, 0xE7, 0xEB),
        edge=Colour(0x8A, 0x93, 0x9E),
        focus=Colour(0x1D, 0x5F, 0xD0),
        tint=0.13,
    )
    dark = _Ground(
        ink=Colour(0xE4, 0xE8, 0xED),
        canvas=Colour(0x0D, 0x10, 0x14),
        surface=Colour(0x16, 0x1A, 0x20),
        line=Colour(0x27, 0x2D, 0x35),
        edge=Colour(0x6A, 0x74, 0x80),
        focus=Colour(0x7F, 0xB0, 0xFF),
        tint=0.24,
    )
    return (
        f":root{{{light.properties(base)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark.properties(base)}}}}}"
    )


class _Ground(Struct, frozen=True):
    """Base colours of the light or dark mode."""

    ink: Colour
    canvas: Colour
    surface: Colour
    line: Colour
    edge: Colour
    focus: Colour
    tint: float

    def properties(self, base: Mapping[str, Colour]) -> str:
        found = {"ink": self.ink, "canvas": self.canvas, "surface": self.surface}
        found |= {"line": self.line, "edge": self.edge, "focus": self.focus}
        found["code"] = self.surface.mixed(self.ink, 0.06)
        found["focus-tint"] = self.surface.mixed(self.focus, 0.4)
        tints = {}
        for name, colour in base.items():
            tints[name] = self.surface.mixed(colour, self.tint)
            found[f"{name}-tint"] = tints[name]
            found[f"{name}-edge"] = colour.legible(
                self.surface, self.canvas, towards=self.ink, ratio=SIGN
            )
            found[name] = colour.legible(self.surface, tints[name], towards=self.ink, ratio=TEXT)
        grounds = (self.surface, self.canvas, found["code"])
        grey = self.ink.mixed(self.canvas, 0.6)
        found["muted"] = grey.legible(*grounds, towards=self.ink, ratio=TEXT)
        found["soft"] = grey.legible(*grounds, *tints.values(), towards=self.ink, ratio=TEXT)
        return ";".join(f"--{name}:{colour}" for name, colour in found.items())
