"""psrcat.db: its format, its errors, and what becomes of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.config.yaml_tree import yaml_text
from darc.model.psrcat import PsrcatError, as_source_list, parse_psrcat
from darc.model.sources import Source, SourceList, merge_lists, parse_source_list
from darc.node.source_lists import read_source_lists
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


def test_a_pulsar_of_two_lists_counts_once_and_keeps_its_first_name() -> None:
    ours = parse_source_list(
        "pulsars: {B0531+21: 56.77}\naliases: {CRAB: B0531+21, R1: FRB 121102}\n"
        "frbs: {FRB 121102: 557}\npositions: {B0531+21: [83.63, 22.01]}\n",
        "ours.yaml",
    )
    both = merge_lists([ours, parse_psrcat(TEXT, "psrcat.db")])
    assert set(both.sources) == {"B0531+21", "FRB 121102", "J0006-1834"}
    assert both.lookup("J0534+2200") == both.lookup("CRAB") == ours.sources["B0531+21"]
    assert both.lookup("R1") == ours.sources["FRB 121102"]


@given(st.lists(st.lists(st.sampled_from("ABCDEF"), max_size=4, unique=True), max_size=4))
def test_merging_loses_no_name_and_doubles_none(names: list[list[str]]) -> None:
    """Each list has sources, of which each has another's name for an alias, perhaps."""
    lists = [
        SourceList(
            {name: Source(name, "pulsar", float(n), None) for name in some[::2]},
            dict(zip(some[1::2], some[::2], strict=False)),
        )
        for n, some in enumerate(names)
    ]
    both = merge_lists(lists)
    for one in lists:
        assert all(both.lookup(name) for name in (*one.sources, *one.aliases))
    assert not both.sources.keys() & both.aliases.keys()
    assert set(both.aliases.values()) <= both.sources.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rubbish\n", "f: no pulsar with a DM"),
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


def catalogue(n: int) -> str:
    """As many pulsars as the real catalogue has, all over the sky."""
    return "".join(
        f"PSRJ J{i:04d}+{i:05d}\nPSRB B{i:05d}\nRAJ {i % 24:02d}:{i % 60:02d}:12.345 3 x\n"
        f"DECJ {i % 179 - 89:+03d}:12:13.4 2 x\nDM {i % 1500 + 3}.123 4 x\n{END}"
        for i in range(n)
    )


def test_of_all_pulsars_some_are_converted_and_the_file_itself_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source list is a text that people write: it has no room for thousands of pulsars."""
    path = tmp_path / "psrcat.db"
    path.write_text(catalogue(4400))
    assert main(["--convert", str(path)]) == 1
    said = capsys.readouterr().err
    assert "4400 sources make no source list" in said
    assert "--min-dec" in said
    assert "match_files" in said
    assert main(["--convert", str(path), "--min-dec", "60"]) == 0
    some = parse_source_list(capsys.readouterr().out, "some.yaml")
    assert 500 < len(some.sources) < 1000
    assert min(one.position[1] for one in some.with_position() if one.position) > 60
    both = read_source_lists(["source_list.yaml", str(path)])
    assert len(both.sources) > 4400
    assert both.lookup("R1")
