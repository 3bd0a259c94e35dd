"""The text of the pages: escaped, small, and only what has changed is told."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import made_up
import pytest
from browsing import made_live
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_up import NOW
from msgspec.structs import fields

from darc.model.overview import (
    Disk,
    Handover,
    LogLine,
    NodeOverview,
    ObservationOverview,
    ServiceOverview,
    StageLatency,
)
from darc.monitor.page.live_page import STATUS, LivePages
from darc.monitor.page.render_page import INDEX, node_page, slug
from darc.monitor.problems import find_problems


def page(live: LivePages, name: str = INDEX) -> str:
    text = live.read(name)
    assert text is not None
    return text


def evil_cluster(text: str) -> made_up.ClusterStatus:
    line = LogLine(NOW, text)
    bad = made_up.service(
        text, "failed", last_error=line, last_trigger=line, log_end=(text,), log_file=text,
        outcomes={text: 3},
    )  # fmt: skip
    observation = made_up.ObservationOverview(text, text, "in processing", NOW, NOW, (text,))
    handover = made_up.Handover("lofar_trigger", False, NOW, 1, text)
    return made_up.cluster(
        made_up.node(made_up.MASTER, *made_up.ON_MASTER),
        made_up.node(
            *(text, bad, "processor"),
            observations=(observation,),
            handovers=(handover,),
            version=text,
            hostname=text,
            master=text,
            supervisord=text,
            disks=(made_up.Disk("run_dir", text, 10, 0),),
        ),
        made_up.silent(f"{text}.", text),
    )


class Elements(HTMLParser):
    """Elements, and what of their attributes runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.running: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "wbr":  # behind each underscore of a name
            self.elements.append(tag)
        self.running += [
            name
            for name, value in attrs
            if name.startswith("on") or "javascript:" in (value or "") or name == "style"
        ]


@settings(max_examples=30, deadline=None)
@given(
    st.text(
        st.one_of(st.sampled_from("<>\"'&/= "), st.characters(exclude_categories=["Cs"])),
        min_size=1,
        max_size=40,
    )
)
def test_whatever_is_told_adds_no_element(text: str) -> None:
    # hypothesis tries texts of the code, too; the names of services have columns of their own
    assume(text not in (*made_up.ON_MASTER, *made_up.ON_WORKERS))
    live = made_live(evil_cluster(text))
    for name, like in ((INDEX, INDEX), (node_page(text), node_page("plain"))):
        found = Elements(page(live, name))
        assert found.elements == plain_elements(like)
        assert found.running == []


@cache
def plain_elements(name: str) -> list[str]:
    return Elements(page(made_live(evil_cluster("plain")), name)).elements


def test_names_and_reasons_are_shown_and_never_markup() -> None:
    live = made_live(evil_cluster("<script>alert('x')</script>"))
    text = page(live)
    assert text.count("<script") == 1
    assert text.count("&lt;script&gt;") >= 10


def test_characters_that_turn_text_around_are_not_shown() -> None:
    text = page(made_live(evil_cluster("evil\u202elive\x1b[2J")))
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "evil\ufffdlive\ufffd[2J" in text


def test_the_policy_allows_this_style_and_this_script_and_nothing_else() -> None:
    live = made_live(made_up.troubled())
    for name in (INDEX, node_page("arts003")):
        text = page(live, name)
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
        assert policy
        allowed = policy[1].replace("&#39;", "'")
        assert "unsafe" not in allowed
        assert "default-src 'none'" in allowed
        for element in ("style", "script"):
            inner = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inner[0].encode()).digest()).decode()
            assert len(inner) == 1
            assert f"{element}-src 'sha256-{digest}'" in allowed


@pytest.mark.parametrize("cluster", [made_up.healthy(), made_up.troubled()])
def test_the_page_is_small(cluster: made_up.ClusterStatus) -> None:
    live = made_live(cluster)
    loaded = [INDEX, "icon-bad.svg", "icon-good.svg", node_page("arts003")]
    assert sum(len(page(live, name).encode()) for name in loaded) < 200_000


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=20))
def test_every_name_has_a_file_of_its_own(names: list[str]) -> None:
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(slugs)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", one) for one in slugs)
    assert all(len(one) < 120 for one in slugs)


def news(live: LivePages, after: str) -> list[str]:
    """Names of the parts that a page of that version is told."""
    events = live.events(after)
    for event in events:
        if event.startswith(b"event: parts"):
            data = event.split(b"\ndata: ", 1)[1]
            return sorted(json.loads(data)["parts"])
        if event.startswith(b"event: anew"):
            return ["anew"]
    raise AssertionError("nothing was told")


def version(live: LivePages) -> str:
    found = re.search(r'data-version="([^"]+)"', page(live))
    assert found
    return found[1]


def test_only_what_has_changed_is_told() -> None:
    live = made_live(made_up.healthy())
    before = version(live)
    nodes = {one.name: one for one in made_up.healthy().nodes}
    made_up.set_service(nodes, "arts003", made_up.service("dada_trigger", "failed"))
    cluster = made_up.cluster(*nodes.values())
    live.publish(cluster, find_problems(cluster, made_up.CONTEXT))
    assert news(live, before) == ["count-Workers", "headline", "problems", "row-arts003"]
    assert version(live) != before
    # Numbers that the page does not show are no change.
    after = version(live)
    made_up.set_service(nodes, "arts005", made_up.service("dada_trigger", memory=1, cpu=99.0))
    cluster = made_up.cluster(*nodes.values())
    live.publish(cluster, find_problems(cluster, made_up.CONTEXT))
    assert version(live) == after


def test_another_service_changes_the_table() -> None:
    live = made_live(made_up.healthy())
    before = version(live)
    nodes = {one.name: one for one in made_up.healthy().nodes}
    nodes["arts003"] = made_up.node("arts003", *made_up.ON_WORKERS, "trigger_counter")
    cluster = made_up.cluster(*nodes.values())
    live.publish(cluster, ())
    assert news(live, before) == ["nodes"]
    assert page(live).count(">trigger_<wbr>counter<") == 2  # in both tables


def test_a_page_of_another_process_loads_itself_anew() -> None:
    live = made_live(made_up.healthy())
    for after in ("", "nonsense", version(made_live(made_up.healthy())), "x.1"):
        assert news(live, after) == ["anew"]


def test_an_event_is_one_line_of_data() -> None:
    """A line end in it would be one of the protocol's."""
    live = made_live(made_up.healthy())
    before = version(live)
    live.publish(evil_cluster("a\n\ndata: b\r\nevent: anew"), ())
    event = next(one for one in live.events(before) if b"parts" in one)
    assert event.count(b"\n") == 4
    assert b"\r" not in event


def test_status_json_tells_programs() -> None:
    cluster = made_up.troubled()
    told = json.loads(page(made_live(cluster), STATUS))
    assert told["format"] == 1
    assert told["time"] == NOW
    assert told["stopped"] is None
    assert [one["title"] for one in told["problems"]] == [
        one.title for one in find_problems(cluster, made_up.CONTEXT)
    ]
    nodes = {one["name"]: one for one in told["nodes"]}
    assert len(nodes) == 41
    assert nodes["arts003"]["states"]["amber_clustering"] == "failed"
    assert [nodes[name]["verdict"] for name in ("arts001", "arts003", "arts040")] == [
        *("good", "bad", "unknown")
    ]
    assert nodes["arts012"]["states"]["amber_listener"] == "died"
    assert nodes["arts001"]["overview"]["services"][0]["name"] == "offline_processing"
    assert "log_end" not in page(made_live(cluster), STATUS)


def test_every_key_is_described() -> None:
    text = (Path(__file__).parents[2] / "docs" / "status_page.md").read_text()
    described = set(re.findall(r"`(\w+)`", text)) | set(re.findall(r'"(\w+)":', text))
    for kind in (NodeOverview, ServiceOverview, ObservationOverview, Handover, Disk, StageLatency):
        assert {field.name for field in fields(kind)} <= described, kind
    told = json.loads(page(made_live(made_up.troubled()), STATUS))
    assert {*told, *told["nodes"][0], *told["problems"][0]} <= described


def test_the_end_is_said_everywhere() -> None:
    live = made_live(made_up.troubled())
    live.stop("The status website was stopped.")
    for name in (INDEX, node_page("arts003")):
        assert "The status website was stopped." in page(live, name)
        assert 'http-equiv="refresh"' not in page(live, name)
    assert json.loads(page(live, STATUS))["stopped"] == "The status website was stopped."
    assert [event for event in live.events(version(live)) if b"event: stopped" in event]


def test_a_page_says_when_it_was_so() -> None:
    live = made_live(made_up.healthy())
    assert re.search(r'As of <time datetime="2026-11-22T01:13:22\+00:00">', page(live))
    live.touch(NOW + 60.0)
    assert re.search(r'As of <time datetime="2026-11-22T01:14:22\+00:00">', page(live))
    assert f'data-now="{NOW + 60:.3f}"' in page(live)


def test_one_trigger_is_one_trigger() -> None:
    def shown(n: int) -> str:
        told = (StageLatency("sent", n, 1.0, 2.0, 3.0),)
        service = made_up.service("dada_trigger", latency=told, outcomes={"sent": n})
        return page(made_live(made_up.cluster(made_up.node(made_up.MASTER, service))))

    assert "<small>1 trigger<" in shown(1)
    assert "<small>2 triggers<" in shown(2)
