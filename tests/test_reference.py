"""The pages of docs/ that list what there is are complete, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from darc.cli.attribute_names import attributes, attributes_of_others
from darc.cli.darc_parser import TERMINAL
from darc.master.master_attributes import NAMES
from darc.model.vocabulary import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("architecture.md", "developers.md")
#: What paths in a page are relative to.
PLACES = (ROOT, ROOT / "darc", ROOT / "tests")
#: A path in a page, and the names in parentheses behind it.
PATH = re.compile(r"`([\w/.]+/[\w.]+\.(?:py|yaml|json|npz|html|css|js|conf))`(?: \(([^)]*)\))?")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_command_and_script_is_listed() -> None:
    text = page("commands.md")
    words = {f"`{name}" for name in COMMANDS} | {f"`darc {name}" for name in TERMINAL}
    words |= {f"`{path.name}" for path in (ROOT / "bin").iterdir()}
    assert not sorted(word for word in words if word not in text)


def test_every_attribute_is_listed() -> None:
    text = page("commands.md")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    for service, names in {**attributes(), "the master": NAMES}.items():
        listed = "".join(cells[2] for cells in rows if service in cells[1])
        of_all = set() if service == "the master" else set(attributes_of_others())
        missing = [name for name in names if name not in of_all and f"`{name}`" not in listed]
        assert not missing, service
    common = text[text.index("Attributes of every service") :]
    assert not [name for name in attributes_of_others() if f"`{name}`" not in common]


def test_every_kind_of_loss_is_listed() -> None:
    text = page("alarms.md")
    modules = (path.read_text() for path in (ROOT / "darc").rglob("*.py"))
    kinds = {kind for one in modules for kind in re.findall(r'LossKind\(\s*"(\w+)"', one)}
    assert len(kinds) > 30
    assert not sorted(kind for kind in kinds if f"`{kind}`" not in text)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_says_of_files_is_so(name: str) -> None:
    """Files and, where they are in parentheses behind a module, its functions and classes."""
    found = PATH.findall(page(name))
    assert len(found) > 20
    wrong = []
    for path, words in found:
        places = [place / path for place in PLACES if (place / path).exists()]
        if {"NAME", "run_dir"} & set(path.split("/")) or "NAME.conf" in path:
            continue  # the reader's own, or a node's
        if not places:
            wrong.append(path)
        elif path.endswith(".py"):
            text = places[0].read_text()
            named = re.findall(r"`(\w+)…?`", words)
            wrong += [f"{path}: {one}" for one in named if not re.search(rf"\b{one}", text)]
    assert not wrong
