"""Rendering of the page in parts, of which only changed ones are sent."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

import jinja2
from markupsafe import Markup, escape

from darc.config.records import Struct
from darc.model.overview import ServiceOverview
from darc.monitor.cluster_watch import ClusterStatus, NodeStatus
from darc.monitor.findings import FAILED, RUNNING, STOPPED
from darc.monitor.page import page_view as view
from darc.monitor.page.publisher_settings import PublisherSettings
from darc.monitor.problems import Problem, numbers
from darc.web.page_text import shown
from darc.web.style import properties

#: Page names, relative to web_dir.
INDEX = "index.html"
NODES = PurePosixPath("nodes")

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


class Page(Struct, frozen=True):
    """Metadata of a page.

    :param now: time of its content (Unix s)
    :param version: of its parts
    :param interval: longest time until it is written again (s)
    :param goodbye: why it is not updated any more; None: it is
    """

    now: float
    version: str
    interval: float
    goodbye: str | None = None


class PageParts(Struct, frozen=True):
    """The main page.

    :param parts: by name
    :param inner: pieces of part `nodes` by name: a row for each node, and counts
    :param frame: the rest of that part
    """

    title: str
    verdict: str
    parts: Mapping[str, str]
    inner: Mapping[str, str]
    frame: str


class Renderer:
    """Renderer of the pages."""

    def __init__(self, settings: PublisherSettings) -> None:
        self._settings = settings
        self._context = settings.context
        self._cluster_name = settings.context.master or settings.own
        # Host names and error texts are escaped, never interpreted as markup.
        loader = jinja2.PackageLoader("darc")
        self._environment = jinja2.Environment(
            loader=loader,
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=False,
            finalize=shown,
        )
        self._environment.filters |= {
            "service": self._context.name,
            "breaking": _breaking,
            "slug": slug,
            "node_page": node_page,
            "iso": _iso,
            "clock": _clock,
            "plain": lambda unix: f"{unix:.3f}",
            "size": _size,
            "ms": _milliseconds,
        }
        self._environment.globals["results"] = settings.results
        self._environment.globals["parts"] = self._environment.get_template("parts.html").module
        self._style = Markup(properties(settings.colours) + self._source("style.css"))
        self._script = Markup(self._source("page.js"))
        self._signs = Markup(self._source("signs.svg"))
        #: Content-Security-Policy of the pages.
        self.policy = (
            f"default-src 'none'; style-src '{_hash(self._style)}'; script-src"
            f" '{_hash(self._script)}'; connect-src 'self'; img-src 'self'; base-uri 'none';"
            " form-action 'none'"
        )

    def _source(self, name: str) -> str:
        assert self._environment.loader
        return self._environment.loader.get_source(self._environment, name)[0]

    def icons(self) -> dict[str, str]:
        """The icons as files, for the browser's tab."""
        found = {}
        for verdict in (view.GOOD, view.BAD, view.CHANGING, view.UNKNOWN):
            match = re.search(rf'<symbol id="{verdict}"[^>]*>(.*?)</symbol>', self._signs)
            assert match
            colour = re.search(rf"--{verdict}-edge:(#\w+)", self._style)
            assert colour
            found[f"icon-{verdict}.svg"] = (
                '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"'
                f' color="{colour[1]}">{match[1]}</svg>\n'
            )
        return found

    # -- the main page -------------------------------------------------------------------------

    def parts(self, cluster: ClusterStatus, problems: Sequence[Problem]) -> PageParts:
        """Render all parts that can change while the page is open."""
        rows = view.node_rows(cluster, problems)
        groups = view.groups(cluster, rows, self._context.master)
        texts = {
            row.name: self._render("row.html", row=row, columns=max(1, len(group.services)))
            for group in groups
            for table in group.tables
            for row in table.rows
        }
        counts = {group.title: group.count for group in groups}
        verdict, headline = _headline(cluster, problems)
        times = view.times(cluster)
        parts = {
            "headline": self._render("headline.html", verdict=verdict, headline=headline),
            "problems": self._render("problems.html", problems=problems, calm=_calm(cluster)),
            "observations": self._observations(view.observations(cluster)),
            "nodes": self._nodes(
                groups, counts, {name: Markup(text) for name, text in texts.items()}
            ),
            "triggers": self._render("triggers.html", times=times, stages=view.stage_names(times)),
            "facts": self._render("facts.html", facts=view.facts(cluster)),
        }
        frame = self._nodes(groups, dict.fromkeys(counts, ""), dict.fromkeys(texts, ""))
        title = f"{headline} · DARC {self._cluster_name}"
        inner = {f"row-{slug(name)}": text for name, text in texts.items()}
        inner |= {f"count-{slug(title)}": text for title, text in counts.items()}
        return PageParts(title, verdict, parts, inner, frame)

    def _nodes(
        self, groups: Sequence[view.NodeGroup], counts: Mapping[str, str], rows: Mapping[str, str]
    ) -> str:
        return self._render("nodes.html", groups=groups, counts=counts, rows=rows)

    def _observations(self, lines: Sequence[view.ObservationLine]) -> str:
        pages = {line.id: self._page_of_results(line.results) for line in lines}
        return self._render("observations.html", observations=lines, pages=pages)

    def _page_of_results(self, results: str) -> str:
        """Return the address of an observation's results; empty where there are none yet."""
        of_all, web_dir = self._settings.results, self._settings.web_dir
        if not results or not of_all:
            return ""
        is_there = (web_dir / unquote(of_all) / results / INDEX).is_file()
        return f"{of_all}/{quote(results)}/{INDEX}" if is_there else ""

    def page(self, parts: PageParts, page: Page) -> str:
        """Render the whole main page."""
        return self._whole(
            "page.html",
            page,
            "",
            title=parts.title if page.goodbye is None else f"Stopped · {parts.title}",
            verdict=parts.verdict if page.goodbye is None else view.UNKNOWN,
            cluster_name=self._cluster_name,
            fragments={name: Markup(text) for name, text in parts.parts.items()},
        )

    # -- the page of a node ----------------------------------------------------------------------

    def node(self, node: NodeStatus, now: float, page: Page, problems: Sequence[Problem]) -> str:
        """Render the page of a node and its services."""
        row = view.node_rows(ClusterStatus(now, (node,)), problems)[node.name]
        overview = node.overview
        cells = {cell.service: cell for cell in row.cells if cell}
        services = []
        if overview:
            for service in (overview.itself, *overview.services):
                state = service.state if node.reached else "no answer"
                verdict = view.verdict_of(state, service) if node.reached else view.UNKNOWN
                cell = cells.get(service.name, view.ServiceCell(service.name, state, verdict))
                services.append((service, cell, self._commands(node, service)))
        return self._whole(
            "node.html",
            page,
            "../",
            verdict=row.verdict if page.goodbye is None else view.UNKNOWN,
            row=row,
            node=node,
            overview=overview,
            services=services,
            commands=self._node_commands(node),
        )

    def _node_commands(self, node: NodeStatus) -> list[tuple[str, str]]:
        shell, host = self._context.shell, [node.name]
        if not node.reached:
            return [("start it", shell.start(host))]
        return [
            ("what runs", shell.service(host, "all", "status")),
            ("start all", shell.start(host)),
            ("stop, start", shell.restart(host)),
        ]

    def _commands(self, node: NodeStatus, service: ServiceOverview) -> list[tuple[str, str]]:
        shell, host = self._context.shell, [node.name]
        log = ("its log", shell.on(node.name, "tail", "-n", "100", service.log_file))
        overview = node.overview
        if overview and service.name == overview.itself.name:
            return [log]
        actions = ["start"] if service.state in (STOPPED, FAILED) else ["restart"]
        if service.state == RUNNING:
            actions.append("stop")
        return [(action, shell.service(host, service.name, action)) for action in actions] + [log]

    # -- in common -------------------------------------------------------------------------------

    def _whole(self, template: str, page: Page, root: str, **values: object) -> str:
        own, service = [self._settings.own], self._settings.service
        return self._render(
            template,
            policy=self.policy,
            style=self._style,
            script=self._script,
            signs=self._signs,
            root=root,
            now=f"{page.now:.3f}",
            written=page.now,
            version=page.version,
            interval=f"{page.interval:g}",
            refresh=f"{max(1.0, page.interval):g}",
            limit=f"{2 * page.interval + 5:g}",
            goodbye=page.goodbye,
            start_command=self._context.shell.service(own, service, "start"),
            **values,
        )

    def _render(self, template: str, **values: object) -> str:
        return self._environment.get_template(template).render(**values)


def _headline(cluster: ClusterStatus, problems: Sequence[Problem]) -> tuple[str, str]:
    waiting = sum(not node.asked for node in cluster.nodes)
    if any(problem.grave for problem in problems):
        return view.BAD, numbers(problems)
    if waiting:
        return view.UNKNOWN, f"{waiting} of {len(cluster.nodes)} nodes not asked yet"
    return view.GOOD, f"Running, {numbers(problems)}" if problems else "Running"


def _calm(cluster: ClusterStatus) -> str:
    if any(not node.asked for node in cluster.nodes):
        return "Nothing that is known yet."
    return "Nothing. All services of all nodes run."


def slug(name: str) -> str:
    """Convert a name to one for a file and an HTML element."""
    if _SAFE.fullmatch(name) and len(name) < 100:
        return name
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80]
    return f"x{plain}-{zlib.crc32(name.encode(errors='backslashreplace')):08x}"


def node_page(name: str) -> str:
    """Return the page of a node, relative to web_dir."""
    return str(NODES / f"{slug(name)}.html")


def _breaking(name: str) -> Markup:
    """Return a service's name with a possible line break after each of its words."""
    return Markup("_<wbr>").join(escape(shown(word)) for word in name.split("_"))


def _iso(unix: float) -> str:
    return _moment(unix).isoformat(timespec="seconds")


def _clock(unix: float) -> str:
    """Return the time of day; with the date where that is not today."""
    moment = _moment(unix)
    today = datetime.now(UTC).date() == moment.date()
    return f"{moment:%H:%M:%S}" if today else f"{moment.day} {moment:%b %H:%M}"


def _moment(unix: float) -> datetime:
    try:
        return datetime.fromtimestamp(unix, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)  # a node may report an invalid time


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _milliseconds(duration: float) -> str:
    return f"{duration:.1f}" if abs(duration) < 10 else f"{duration:,.0f}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
