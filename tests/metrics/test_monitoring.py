"""The dashboard and the alerts ask for what real nodes tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from nodes import Node, patience, wait_for
from scrapes import Scrape, scrape

from darc.cli.darc_parser import make_parser
from darc.model.vocabulary import not_of_a_service

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
DASHBOARD = MONITORING / "grafana" / "darc.json"
ALERTS = MONITORING / "prometheus" / "alerts.yaml"
CONFIG = MONITORING / "prometheus" / "prometheus.yml"

#: What Prometheus makes itself, and the labels that it gives to all series.
ITS_OWN = {"up", "ALERTS"}
ITS_LABELS = {"job", "instance", "darc_role", "alertname", "alertstate"}
#: What Grafana fills in.
VARIABLES = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$instance": ".*",
    "$stage": "line to sent",
    "${datasource}": "prometheus",
}


def filled(text: str) -> str:
    for variable, value in VARIABLES.items():
        text = text.replace(variable, value)
    assert "$" not in text, text
    return text


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where each one stands, and its text."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']} {target['refId']}", filled(target["expr"])
    dashboard = json.loads(DASHBOARD.read_text())
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", filled(annotation["expr"])
    for variable in dashboard["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", str(variable.get("definition", "")))
        if match:
            yield f"variable {variable['name']}", f"count by ({match[2]}) ({match[1]})"
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]


def parts(expression: Any) -> list[Any]:
    found: list[Any] = []
    promql.walk(expression, pre_visit=found.append)
    return found


def labels_by(node: Any) -> Iterable[str]:
    """Those that an aggregation or a match of two sides goes by."""
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql.AggregateExpr):
        return modifier.labels if modifier else ()
    if isinstance(node, promql.BinaryExpr) and modifier and modifier.matching:
        return modifier.matching.labels
    return ()


def selected(selector: Any, series: Iterable[tuple[str, dict[str, str]]]) -> list[dict[str, str]]:
    """The labels of the series that it finds; those that Prometheus gives are not looked at."""
    found = []
    for name, labels in series:
        if name != selector.name:
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name in ITS_LABELS:
                continue
            if matcher.name not in labels:
                break
            value, equal = labels[matcher.name], matcher.op == promql.MatchOp.Equal
            if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
                matches = value == matcher.value
            else:
                equal = matcher.op == promql.MatchOp.Re
                matches = re.fullmatch(matcher.value, value) is not None
            if matches is not equal:
                break
        else:
            found.append(labels)
    return found


@pytest.fixture(scope="module")
def series(observed: Node, worker: Node) -> list[tuple[str, dict[str, str]]]:
    """What the nodes of a cluster tell, together."""

    def told() -> list[Scrape]:
        scrapes = [scrape(observed), scrape(worker)]
        ready = scrapes[0].find("darc_trigger_latency_seconds_bucket", stage="line to sent")
        return scrapes if ready and scrapes[1].find("darc_handover_reached") else []

    return [
        (one.name, dict(one.labels)) for scraped in wait_for(told, 40.0) for one in scraped.series
    ]


def test_every_expression_asks_for_what_is_there(
    series: list[tuple[str, dict[str, str]]],
) -> None:
    """Each name, each label in a matcher with its value, and each label that is grouped by."""
    for where, text in expressions():
        nodes = parts(promql.parse(text))
        found: list[dict[str, str]] = []
        selectors = [node for node in nodes if isinstance(node, promql.VectorSelector)]
        assert selectors, where
        for selector in selectors:
            if selector.name in ITS_OWN:
                continue
            fits = selected(selector, series)
            assert fits, f"{where}: nothing is {selector}"
            found += fits
        known = {label for labels in found for label in labels} | ITS_LABELS
        for node in nodes:
            assert set(labels_by(node)) <= known, f"{where}: {node}"


def test_counters_are_only_asked_for_their_rise() -> None:
    """And histograms; what they stand at says nothing after a restart."""
    for where, text in expressions():
        nodes = parts(promql.parse(text))
        inside = [
            argument.vector_selector.name
            for node in nodes
            if isinstance(node, promql.Call) and node.func.name in ("rate", "increase")
            for argument in node.args
        ]
        for node in nodes:
            if isinstance(node, promql.VectorSelector) and "variable" not in where:
                is_counter = str(node.name).endswith(("_total", "_bucket", "_sum", "_count"))
                assert not is_counter or node.name in inside, f"{where}: {node}"


def test_legends_and_texts_name_labels_that_are_left() -> None:
    for panel in panels():
        for target in panel.get("targets", ()):
            (outer,) = [promql.parse(filled(target["expr"]))]
            if isinstance(outer, promql.AggregateExpr):
                left = set(labels_by(outer))
                named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                assert named <= left, (panel["title"], target)
    for rule in rules():
        named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert named <= ITS_LABELS | {"service", "queue", "disk", "what", "kind"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}


#: What Prometheus fills in, as on the node of these tests.
LABELS = {"instance": "localhost", "service": "dada_trigger", "queue": "dada_trigger"}


def commands() -> Iterator[list[str]]:
    """What the alerts have an operator type."""
    for rule in rules():
        text = rule["annotations"]["description"]
        for label, value in LABELS.items():
            text = text.replace(f"{{{{ $labels.{label} }}}}", value)
        for command in re.findall(r"\b(?:darc|st\w+_full_pipeline) [^&\"]*(?=&|$)", text):
            if "--" in command:
                yield command.split()


def test_alerts_name_commands_that_work(observed: Node) -> None:
    found = list(commands())
    assert len(found) > 10
    for program, *words in found:
        if program != "darc":
            assert words == ["--nodes", "localhost"]
            continue
        if words[0] in ("logs", "doctor"):
            result = observed.run(program, *words, check=False)
            assert result.returncode in (0, 1), (words, result.stderr)  # 1: a check has failed
            assert "usage" not in result.stderr
            continue
        options = make_parser().parse_args(words)
        if options.command in ("start", "restart"):
            assert not not_of_a_service(options.command, options.service)
            assert options.service in observed.states()
        else:
            result = observed.darc(*words)
            assert (result.returncode, result.stderr) == (0, ""), (words, result.stdout)


def test_alerts_have_names_of_their_own_and_panels_places() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    taken = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)


def test_the_example_asks_each_of_the_nodes_once() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "darc"
    targets = [target for group in job["static_configs"] for target in group["targets"]]
    assert targets == [f"arts{number:03d}:51090" for number in range(1, 42)]
    assert all((CONFIG.parent / name).is_file() for name in config["rule_files"])


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return path


def check(promtool: str, *words: str, text: str = "") -> None:
    result = subprocess.run(
        [promtool, "check", *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_takes_the_files(promtool: str) -> None:
    check(promtool, "rules", str(ALERTS))
    check(promtool, "config", str(CONFIG))


def test_promtool_takes_the_queries_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    recorded = [{"record": f"query:{n}", "expr": text} for n, (_, text) in enumerate(expressions())]
    rules_file = tmp_path / "queries.yaml"
    rules_file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    check(promtool, "rules", str(rules_file))


def test_promtool_takes_what_nodes_tell(promtool: str, observed: Node, worker: Node) -> None:
    """It reads the text, and complains of names that are not as usual."""
    for node in (observed, worker):
        check(promtool, "metrics", text=scrape(node).text)


def test_the_documentation_names_what_there_is(observed: Node) -> None:
    text = (MONITORING.parent / "docs" / "metrics.md").read_text()
    (table,) = re.findall(r"\| metric \| labels \| is \|\n(.*?)\n\n", text, re.DOTALL)
    first_column = "".join(row.split("|")[1] for row in table.splitlines())
    named = {f"darc_{name}" for name in re.findall(r"`(\w+)`", first_column)}
    told = {
        f"{name}_total" if family.type == "counter" else name
        for name, family in scrape(observed).families.items()
    }
    assert named == told
    alerts = text.split("## Alerts")[1]
    assert set(re.findall(r"\bDarc\w+", alerts)) == {rule["alert"] for rule in rules()}
