"""README and tutorial as a stranger types them, and their links. Sphinx looks at those in docs/."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
import yaml
from nodes import Node, patience

ROOT = Path(__file__).resolve().parents[1]
INSTALL = "python3 -m venv .venv && . .venv/bin/activate && pip install .\n"
#: Shorter than the tutorial's, and started at once.
OBSERVE = "simulator.observe observation"
SHORT = f"{OBSERVE} --delay 3 --duration 12 --bursts 2 --seed 4"


def typed(page: str, *, installs: bool = True) -> str:
    """All that a page has the reader type, but for the installation."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    text = "".join(blocks)
    assert text.count(INSTALL) == installs
    return text.replace(INSTALL, "")


@pytest.fixture
def make_home_node(make_node: Callable[..., Node]) -> Callable[..., Node]:
    """Make a node in ~/darc, under the machine's own name."""

    def make(**config: Any) -> Node:
        node = make_node(gethostname().partition(".")[0], **config)
        (node.home / "darc").symlink_to(node.home)
        return node

    return make


@pytest.fixture
def home_node(make_home_node: Callable[..., Node]) -> Node:
    return make_home_node()


def run(node: Node, script: str, place: Path) -> str:
    """What a shell shows, which ends at the first command that fails."""
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env={**node.environment, "HOME": str(node.home), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=patience(110),
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_the_first_ten_minutes(home_node: Node, tmp_path: Path) -> None:
    script = typed("README.md")
    # It wants a terminal; the doctor has something to say about a machine without a telescope.
    script = script.replace("darc watch ", ": darc watch ").replace(
        "darc doctor ", ": darc doctor "
    )
    shown = run(home_node, script, tmp_path)
    assert "candidates 1; " in shown
    assert (tmp_path / "sample_darc" / "site" / "index.html").exists()
    assert home_node.processes() == []


def test_the_tutorial(home_node: Node, tmp_path: Path) -> None:
    script = typed("docs/first_node.md")
    assert OBSERVE in script
    script = script.replace(OBSERVE, SHORT)
    # What a reader sees without being told: the parset is there, the observation is over.
    there = "until [ -e observation/CB00.parset ]; do sleep 0.1; done\n"
    script = re.sub(r"^darc --parset \S+ start", lambda found: there + found[0], script, flags=re.M)
    script = re.sub(
        r"^darc --parset \S+ stop", lambda found: "wait\n" + found[0], script, flags=re.M
    )
    shown = run(home_node, script, tmp_path)
    assert shown.count("burst at ") == 2
    assert "lofar trigger " in shown
    assert home_node.processes() == []


def test_an_instrument_of_ones_own(make_home_node: Callable[..., Node], tmp_path: Path) -> None:
    page = (ROOT / "docs/other_telescopes.md").read_text()
    (own,) = re.findall(r"^```yaml\n(instrument:\n  name: My array\n.*?)^```$", page, re.M | re.S)
    (sending,) = re.findall(r"^voevent_generator:\n.*?(?=^```$)", page, re.M | re.S)
    instrument = {"base": "single_dish", **yaml.safe_load(own)["instrument"]}
    node = make_home_node(instrument=instrument, **yaml.safe_load(sending))
    script = typed("docs/other_telescopes.md", installs=False)
    assert "--duration 20" in script
    script = script.replace("--duration 20", "--duration 8").replace(
        "simulator.dbevent", f"simulator.dbevent --port {node.config['dada_trigger']['port_iquv']}"
    )
    shown = run(node, script, tmp_path)
    assert "N_EVENTS 1\n" in shown
    assert shown.count('"alert_tense": "test"') == 5
    assert '"spectral_band": [852.0, 1708.0]' in shown
    assert node.processes() == []


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []
