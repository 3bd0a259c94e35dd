"""Colours from the configuration: nothing but colours, and legible whatever they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.config.config import ConfigError
from darc.config.css_colour import NAMES, Colour, parse_colour
from darc.node.node_config import load_config
from darc.web.style import SIGN, TEXT, Colours, properties

BYTE = st.integers(0, 255)
COLOUR = st.builds(Colour, BYTE, BYTE, BYTE)


def configure(tmp_path: Path, colour: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(f"status_website: {{colour_bad: '{colour}'}}\n")
    return load_config(path).status_website.colour_bad


@pytest.mark.parametrize("colour", ["red", "Tomato", "#f00", "#FF8800", "rebeccapurple"])
def test_a_colour_is_taken(tmp_path: Path, colour: str) -> None:
    assert configure(tmp_path, colour) == colour
    parse_colour(colour)


@pytest.mark.parametrize(
    "text",
    [
        "red;}body{display:none",
        "red}</style><script>",
        "url(http://evil.invalid/x)",
        "expression(alert(1))",
        "var(--ink)",
        "#ff",
        "#ffff",
        "redd",
        "red\\\\",
        " red",
        "",
    ],
)
def test_what_is_no_colour_is_an_error_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"config.yaml:1: status_website.colour_bad: .*colour"):
        configure(tmp_path, text)


@given(st.text(max_size=30))
def test_no_text_is_more_than_a_colour(text: str) -> None:
    try:
        colour = parse_colour(text)
    except ValueError:
        return
    assert re.fullmatch(r"#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6}|[A-Za-z]+", text)
    assert re.fullmatch(r"#[0-9a-f]{6}", str(colour))


@given(COLOUR)
def test_a_colour_comes_back(colour: Colour) -> None:
    assert parse_colour(str(colour)) == colour


def test_all_names_are_colours() -> None:
    assert len(NAMES) == 148
    assert all(re.fullmatch(r"[0-9a-f]{6}", digits) for digits in NAMES.values())
    assert str(parse_colour("green")) == "#008000"


def test_contrast_is_that_of_the_guidelines() -> None:
    black, white = parse_colour("black"), parse_colour("white")
    assert black.contrast(white) == white.contrast(black) == pytest.approx(21.0)
    assert parse_colour("#777").contrast(white) == pytest.approx(4.48, abs=0.01)


@given(COLOUR, COLOUR, COLOUR)
def test_whatever_is_configured_can_be_read(good: Colour, bad: Colour, unknown: Colour) -> None:
    style = properties(Colours(str(good), str(bad), str(unknown)))
    for scheme in re.findall(r":root\{(.*?)\}", style):
        found = {
            name: parse_colour(value) for name, value in re.findall(r"--([\w-]+):(#\w+)", scheme)
        }
        surface, canvas = found["surface"], found["canvas"]
        for name in ("good", "bad", "unknown", "changing"):
            tint = found[f"{name}-tint"]
            assert found[name].contrast(surface) >= TEXT
            assert found[name].contrast(tint) >= TEXT
            assert found["ink"].contrast(tint) >= TEXT
            assert found["soft"].contrast(tint) >= TEXT
            assert found[f"{name}-edge"].contrast(surface) >= SIGN
        assert found["muted"].contrast(surface) >= TEXT
        assert found["muted"].contrast(canvas) >= TEXT
        assert found["muted"].contrast(found["code"]) >= TEXT
