"""psrcat.db: its format, its errors, and what becomes of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.config.yaml_tree import yaml_text
from darc.model.psrcat import PsrcatError, as_source_list, parse_psrcat
from darc.model.sources import parse_source_list
from darc.offline.match_sources import main

END = "@-----------------------------------------------------------------\n"
CRAB = (
    "PSRB     B0531+21                      sr68\nPSRJ     J0534+2200                    sr68\n"
    "RAJ      05:34:31.973              5   mc04\nDECJ     +22:00:52.06              6   mc04\n"
    "DM       56.77118                  24  jbgr\nF0       29.946923               1   x\n"
)
SOUTHERN = "PSRJ     J0006-1834  x\nRAJ 00:06:04.8 2 x\nDECJ -00:34:59 4 x\nDM 11.41 55 x\n"
NO_DM = "PSRJ     J0000+0000  x\nRAJ 00:00:00 2 x\n"
TEXT = "#CATALOGUE 2.0.0\n" + CRAB + END + SOUTHERN + END + NO_DM + END


def test_it_is_read() -> None:
    found = parse_psrcat(TEXT, "psrcat.db")
    assert set(found.sources) == {"J0534+2200", "J0006-1834"}
    crab = found.lookup("B0531+21")
    assert crab
    assert crab.position == pytest.approx((83.633221, 22.014461), abs=1e-5)
    assert crab.dm == 56.77118
    # The sign of an angle whose degrees are 0.
    position = found.sources["J0006-1834"].position
    assert position
    assert position[1] == pytest.approx(-0.58306, abs=1e-5)


def test_it_becomes_a_source_list() -> None:
    found = parse_psrcat(TEXT, "psrcat.db")
    again = parse_source_list(yaml_text(as_source_list(found)), "made.yaml")
    assert again.sources.keys() == found.sources.keys()
    assert again.aliases == found.aliases
    assert again.lookup("B0531+21") == again.sources["J0534+2200"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PSRJ A\nDM x\n@\n", "f:3: A: DM: 'x'; allowed: 0 to 100000"),
        ("PSRJ A\nDM -1\n", "f:2: A: DM: '-1'"),
        ("DM 3\n@--\n", "f:2: a pulsar without PSRJ"),
        ("PSRJ A\nDM 3\nRAJ 25:00\nDECJ 1\n@", "f:5: A: 25:00 1; allowed: a position"),
        ("PSRJ A\nDM 3\nRAJ 5h\nDECJ 1\n@", "'5h'; allowed: an angle"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(PsrcatError) as raised:
        parse_psrcat(text, "f")
    assert said in str(raised.value)


@given(st.text(max_size=200))
def test_nonsense_is_read_or_refused(text: str) -> None:
    with suppress(PsrcatError):
        found = parse_psrcat(text, "f")
        assert all(source.dm >= 0 for source in found.sources.values())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "psrcat.db").write_text(TEXT)
    assert main(["--convert", str(tmp_path / "psrcat.db")]) == 0
    (tmp_path / "made.yaml").write_text(capsys.readouterr().out)
    beam = ["--ra", "83.6", "--dec", "22.0", "--beam", "0.5", "--dm", "56.5"]
    for name in ("psrcat.db", "made.yaml"):
        assert main(["--sources", str(tmp_path / name), *beam]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[1] == "J0534+2200"
        assert float(lines[0].split()[0]) > 0.95
        assert lines[-1].endswith("none of 2")
    assert main(beam) == 0  # the packaged list
    assert "B0531+21" in capsys.readouterr().out
    (tmp_path / "psrcat.db").write_text("DM 3\n")
    assert main(["--sources", str(tmp_path / "psrcat.db"), *beam]) == 1
    assert "psrcat.db:1: a pulsar without PSRJ" in capsys.readouterr().err
