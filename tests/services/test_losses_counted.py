"""What is remembered of losses, and for how long it is told."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from darc.cli import attribute_names
from darc.config.source_settings import SourceSettings
from darc.model.vocabulary import COMMANDS
from darc.monitor.service_answers import read_answer
from darc.node import losses as module
from darc.node.losses import KEPT, MAX_CHARACTERS, Losses, LossKind
from darc.queues.plain_connection import pack
from darc.runtime.clock import Since
from darc.runtime.log import about

DUMP = LossKind("dump", "data lost", "start it")
MAIL = LossKind("mail", "a mail lost", "mend it")


def recalled(before: Losses) -> Losses:
    """As the next process finds it."""
    after = Losses((DUMP, MAIL))
    after.recall(before.to_plain())
    return after


def test_each_kind_is_counted_and_the_last_ones_are_kept() -> None:
    losses = Losses((DUMP, MAIL))
    assert losses.numbers() == {"dump": 0, "mail": 0}
    assert losses.summaries() == {}
    with about("190518009"):
        for number in range(KEPT + 5):
            assert losses.add(DUMP, f"trigger {number}", "refused", 2)
    assert losses.numbers() == {"dump": 2 * (KEPT + 5), "mail": 0}
    told = losses.summaries()["dump"]
    assert (told["title"], told["to_do"], told["recent"]) == ("data lost", "start it", True)
    assert [one["what"] for one in told["last"]] == [f"trigger {n}" for n in range(5, KEPT + 5)]
    assert {one["observation"] for one in told["last"]} == {"190518009"}


def test_what_the_process_before_has_counted_is_not_counted_again() -> None:
    """It may have died between that and the step that gives it up."""
    first = Losses((DUMP,))
    first.add(DUMP, "trigger 1", "refused")
    second = recalled(first)
    assert not second.add(DUMP, "trigger 1", "refused")
    assert second.add(DUMP, "trigger 1", "refused")  # this is another one
    assert second.add(DUMP, "trigger 2", "refused")
    assert second.numbers()["dump"] == 3
    with about("another observation"):
        assert recalled(first).add(DUMP, "trigger 1", "refused")
    assert recalled(first).add(MAIL, "trigger 1", "refused")


def test_after_a_day_it_is_told_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = Losses((DUMP,))
    losses.add(DUMP, "trigger 1", "refused")
    monkeypatch.setattr(Since, "age", lambda self: module.TOLD_SECONDS - 1.0)
    assert losses.summaries()["dump"]["recent"]
    monkeypatch.setattr(Since, "age", lambda self: module.TOLD_SECONDS + 1.0)
    assert not losses.summaries()["dump"]["recent"]
    assert losses.numbers()["dump"] == 1


@pytest.mark.parametrize("plain", [7, {"dump": 7}, {"dump": [1, [7]]}, {"dump": ["many", []]}])
def test_a_memory_that_cannot_be_read(plain: Any, caplog: pytest.LogCaptureFixture) -> None:
    losses = Losses((DUMP,))
    with caplog.at_level(logging.ERROR):
        losses.recall(plain)
    assert "counting starts at 0" in caplog.text
    assert losses.add(DUMP, "trigger 1", "refused")


def test_a_kind_of_another_version_is_not_forgotten() -> None:
    losses = Losses((DUMP,))
    losses.recall({"other": [3, [[Since.now().to_plain(), "", "it", "why"]]]})
    assert losses.numbers() == {"dump": 0, "other": 3}
    assert losses.summaries()["other"]["title"] == "lost: other"


texts = st.text(st.characters(), max_size=300)  # surrogates, too


@given(st.lists(st.tuples(texts, texts, st.integers(1, 10**9))))
def test_the_master_reads_what_a_service_tells(lost: list[tuple[str, str, int]]) -> None:
    losses = Losses((DUMP, MAIL))
    for what, why, number in lost:
        losses.add(DUMP, what, why, number)
    pack(losses.to_plain())
    read = read_answer("losses", recalled(losses).summaries())
    assert ast.literal_eval(str(losses.summaries())) == losses.summaries()
    if not lost:
        assert read == ()
        return
    (one,) = read
    assert one.kind == "dump"
    assert one.number == sum(number for _, _, number in lost)
    assert len(one.last) == min(len(lost), KEPT)
    assert all(len(each.what) <= MAX_CHARACTERS for each in one.last)


def test_what_a_loss_says_to_change_is_there_to_be_changed() -> None:
    """A key of the configuration, a command, an attribute or a program, by the name that it has."""
    root = Path(__file__).parents[2]
    known = {*SourceSettings.__struct_fields__, *COMMANDS, "dada_dbevent", "output_dir"}
    for name in ("default", "arts"):
        known |= set(keys(yaml.safe_load((root / f"conf/{name}.yaml").read_text())))
    for service, attributes in attribute_names.attributes().items():
        known |= {service, *attributes}
    known |= {script.name for script in (root / "bin").iterdir()}
    kinds = [
        node
        for file in (root / "darc").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "LossKind"
    ]
    assert len(kinds) > 30
    words = {word for kind in kinds for word in re.findall(r"[a-z]+(?:_[a-z]+)+", said(kind))}
    assert words - known == set()


def said(kind: ast.Call) -> str:
    texts = (node for argument in kind.args[1:] for node in ast.walk(argument))
    return " ".join(str(one.value) for one in texts if isinstance(one, ast.Constant))


def keys(node: object) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield key
        yield from keys(value)
