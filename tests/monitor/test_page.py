"""The page in a real browser: what is seen, at which size, by whom, and when it changes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import made_up
import pytest
from browsing import Browser, Site, files, made_live
from msgspec.structs import replace
from nodes import wait_for as wait_for_seconds

from darc.monitor.cluster_watch import ClusterStatus
from darc.monitor.page.page_files import WebDirectory
from darc.monitor.problems import find_problems

#: Others may be at work on the same cores.
wait_for = partial(wait_for_seconds, timeout=40.0)

EVIL = "<script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">"
SIZES = {
    "desktop": (1440, 900),
    "notebook": (1280, 800),
    "tablet": (820, 1180),
    "phone": (390, 844),
}
CELL = "#c-arts003-amber_clustering"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_bad_night_at_every_size(
    browser: Browser, make_site: Callable[..., Site], now: float, size: str, scheme: str
) -> None:
    """Nothing is wider than the screen, and all is there."""
    site = make_site(made_up.troubled(now))
    width, height = SIZES[size]
    browser.show(site.server.url, width, height, scheme)
    wait_for(lambda: "live" in browser.text("#link"))
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelectorAll('.nodes tbody tr').length") == 41
    assert browser.complaints() == []
    browser.screenshot(f"{size}-{scheme}", whole=size != "desktop")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_axe_finds_nothing_serious(
    browser: Browser, make_site: Callable[..., Site], now: float, size: str, scheme: str
) -> None:
    site = make_site(made_up.few(now))
    browser.show(site.server.url, *SIZES[size], scheme)
    wait_for(lambda: "live" in browser.text("#link"))
    assert browser.serious() == []
    browser.one("#n-arts003" if size == "phone" else CELL).click()
    wait_for(lambda: browser.text("#details .inside"))
    assert browser.serious() == []
    browser.show(f"{site.server.url}nodes/arts003.html", *SIZES[size], scheme)
    assert browser.serious() == []


@pytest.mark.parametrize("made", [made_up.healthy, made_up.troubled])
def test_forty_one_nodes_fit_on_a_desktop(
    browser: Browser,
    make_site: Callable[..., Site],
    now: float,
    made: Callable[[float], ClusterStatus],
) -> None:
    site = make_site(made(now))
    browser.show(site.server.url)
    below = browser.run(
        "return Math.max(...[...document.querySelectorAll('.nodes tr')]"
        ".map((row) => row.getBoundingClientRect().bottom))"
    )
    assert below <= 900
    assert browser.run("return document.documentElement.scrollHeight") <= 900
    assert cut(browser) == []
    browser.screenshot(f"fits-{made.__name__}")


def cut(browser: Browser) -> list[str]:
    """Words of the nodes that are not seen as a whole."""
    found = browser.run(
        "return [...document.querySelectorAll('.nodes th span, .nodes td a span')]"
        ".filter((one) => { const place = (of) => of.getBoundingClientRect().right;"
        " return one.scrollWidth > one.clientWidth + 1"
        " || place(one) > place(one.closest('th, td')) + 1"
        " || place(one) > place(one.closest('.tables')) + 1; })"
        ".map((one) => one.innerText)"
    )
    return list(found)


@pytest.mark.parametrize("width", [390, 820, 1180, 1280, 1399, 1440, 1760, 1920])
def test_no_name_and_no_state_is_cut(
    browser: Browser, make_site: Callable[..., Site], now: float, width: int
) -> None:
    """Of broken nodes above all, which are bold."""
    nodes = [
        one
        if one.name == made_up.MASTER
        else replace(one, name=one.name.replace("arts0", "worker-0"))
        for one in made_up.troubled(now).nodes
    ]
    site = make_site(made_up.cluster(*nodes, now=now))
    browser.show(site.server.url, width, 900)
    wait_for(lambda: "live" in browser.text("#link"))
    assert cut(browser) == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.screenshot(f"names-{width}")


def test_all_that_is_wrong_is_seen_on_a_notebook(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.troubled(now))
    browser.show(site.server.url, 1280, 800)
    seen = browser.run(
        "return [...document.querySelectorAll('.problem')]"
        ".filter((one) => one.getBoundingClientRect().bottom <= innerHeight).length"
    )
    assert seen == 12
    # what is said of them in full
    clipped = browser.run(
        "return [...document.querySelectorAll('.why')]"
        ".filter((one) => one.scrollHeight > one.clientHeight + 1).length"
    )
    assert clipped == 0


def test_what_is_old_or_stopped_is_no_headline(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.healthy(now))
    browser.show(site.server.url)
    wait_for(lambda: browser.text(".headline") == "Running")
    site.live.stop("The status website was stopped.")
    gone = "Not known now last known: Running"
    wait_for(lambda: browser.text(".headline") == gone)
    browser.show(site.server.url)  # and so for who comes later
    assert browser.text(".headline") == gone
    assert "Running" not in browser.run("return document.title") or browser.run(
        "return document.title.startsWith('Stopped')"
    )
    browser.show(f"{site.server.url}nodes/arts003.html")
    assert browser.text(".headline") == "Not known now last known: 5 running"


def test_results_are_a_click_away(
    browser: Browser, make_site: Callable[..., Site], now: float, tmp_path: Path
) -> None:
    """From the page at every width, from an observation to its own, and as a directory."""
    nodes = {one.name: one for one in made_up.few(now).nodes}
    for name, one in nodes.items():
        if one.overview is None:
            continue
        seen = [
            replace(each, results=f"20190518/2019-05-18-{each.id}.{each.source}")
            for each in one.overview.observations
        ]
        made_up.change(nodes, name, observations=tuple(seen))
    site = make_site(made_up.cluster(*nodes.values(), now=now), results="triggers_realtime")
    results = tmp_path / "web" / "triggers_realtime"
    own = results / "20190518" / "2019-05-18-190518008.R3"
    own.mkdir(parents=True)
    for directory in (results, own):
        (directory / "index.html").write_text(f"<title>{directory.name}</title>")
    site.publish(made_up.cluster(*nodes.values(), now=now + 1))
    for width in (390, 1280, 1920):
        browser.show(site.server.url, width, 900)
        assert browser.one("nav .elsewhere").is_displayed()
    links = browser.run(
        "return [...document.querySelectorAll('.observation a')].map((a) => a.href)"
    )
    assert len(links) == 1  # there are none of the others yet
    browser.run("document.querySelector('.observation a').click()")
    wait_for(lambda: browser.run("return document.title") == own.name)
    # The address of the documentation, and without its last slash
    for address in ("triggers_realtime/", "triggers_realtime"):
        browser.show(f"{site.server.url}{address}")
        assert browser.run("return document.title") == "triggers_realtime"
        assert browser.run("return location.pathname") == "/triggers_realtime/"


def test_never_by_colour_alone(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.troubled(now))
    browser.show(site.server.url)
    words = browser.run(
        "return [...document.querySelectorAll('.nodes td[data-state] a')].map((one) =>"
        " [one.closest('td').className, one.innerText.trim(),"
        "  one.querySelector('use').getAttribute('href')])"
    )
    assert {tuple(word) for word in words} == {
        ("good", "running", "#good"),
        ("bad", "failed", "#bad"),
        ("bad", "unresponsive", "#bad"),
        ("bad", "stopped", "#bad"),
        ("bad", "died", "#bad"),
        ("changing", "starting", "#changing"),
    }
    label = browser.attribute("#c-arts017-dada_trigger", "aria-label")
    assert label == "arts017, dada_trigger: unresponsive"
    greys = browser.run(
        "return [...document.querySelectorAll('.nodes tr.unknown')].map((one) => one.innerText)"
    )
    assert len(greys) == 4
    assert all("no answer since" in grey for grey in greys)


def test_details_of_a_service(browser: Browser, make_site: Callable[..., Site], now: float) -> None:
    site = make_site(made_up.troubled(now))
    browser.show(site.server.url)
    browser.one(CELL).click()
    said = wait_for(lambda: browser.text("#details .inside"))
    for words in (
        "amber_clustering on arts003",
        "failed since",
        "4 since the node was started, 4 after it died",
        "MemoryError: Unable to allocate 3.81 GiB",
        "darc --host arts003 --service amber_clustering start",
        "window 812 closed",
    ):
        assert words in said
    browser.screenshot("details")
    # What is told of the node anew is shown there, too.
    nodes = {one.name: one for one in made_up.troubled(now).nodes}
    made_up.set_service(nodes, "arts003", made_up.service("amber_clustering", "running", now))
    site.publish(made_up.cluster(*nodes.values(), now=now))
    wait_for(lambda: "running since" in browser.text("#details .inside"))
    browser.run("document.querySelector('#details .close').click()")
    wait_for(lambda: browser.run("return document.activeElement.id") == CELL[1:])


def test_the_keyboard_reaches_every_cell(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.healthy(now))
    browser.show(site.server.url)
    wait_for(lambda: "live" in browser.text("#link"))

    def press(key: str, code: int) -> str:
        for kind in ("rawKeyDown", "keyUp"):
            browser.command(
                "Input.dispatchKeyEvent",
                *(("type", kind), ("key", key), ("code", key), ("windowsVirtualKeyCode", code)),
            )
        return str(browser.run("return document.activeElement.id"))

    stops = [press("Tab", 9) for _ in range(30)]
    grid = [stop for stop in stops if stop.startswith(("n-", "c-"))]
    assert len(set(grid)) == 1  # one stop for all of it
    while not press("Tab", 9).startswith("n-"):
        pass
    seen = {press("ArrowRight", 39) for _ in range(5)}
    assert seen == {f"c-arts041-{name}" for name in made_up.ON_MASTER}
    assert press("Home", 36) == "n-arts041"
    rows = [press("ArrowDown", 40) for _ in range(40)]
    assert rows == [f"n-{name}" for name in made_up.workers()]
    press("ArrowRight", 39)
    # A change elsewhere does not take the place from under the reader.
    site.publish(made_up.troubled(now))
    wait_for(lambda: browser.text("#c-arts003-amber_clustering") == "failed")
    # That node has gone, and its cells with it: its name has the focus now.
    assert browser.run("return document.activeElement.id") == "n-arts040"
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    for _ in range(37):
        press("ArrowUp", 38)
    for _ in range(3):
        press("ArrowRight", 39)
    assert press("Enter", 13) == ""  # in the details
    wait_for(lambda: "amber_clustering" in browser.text("#details .inside h2"))
    wait_for(lambda: press("Escape", 27) == CELL[1:])


def test_it_changes_as_the_nodes_do(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.healthy(now))
    browser.show(site.server.url)
    wait_for(lambda: "live" in browser.text("#link"))
    assert browser.text(".headline") == "Running"
    browser.run("document.querySelector('#c-arts001-processor').dataset.mine = 'yes'")
    site.publish(made_up.troubled(now))
    wait_for(lambda: browser.text(CELL) == "failed")
    assert "problems" in browser.text(".headline")
    assert "problems" in browser.driver.title
    assert browser.attribute("#icon", "href").endswith("icon-bad.svg")
    assert "amber_clustering on arts003 failed" in browser.text(".problems")
    # A row that is as it was is left alone.
    assert browser.attribute("#c-arts001-processor", "data-mine") == "yes"
    site.publish(made_up.healthy(now))
    wait_for(lambda: browser.text(CELL) == "running")
    assert browser.complaints() == []


def test_a_node_more_is_another_row(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    few = made_up.cluster(made_up.node(made_up.MASTER, *made_up.ON_MASTER, now=now), now=now)
    site = make_site(few)
    browser.show(site.server.url)
    wait_for(lambda: "live" in browser.text("#link"))
    site.publish(made_up.healthy(now))
    wait_for(
        lambda: browser.run("return document.querySelectorAll('.nodes tbody tr').length") == 41
    )


def test_nothing_shown_is_ever_markup(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    """Not when the page is loaded, nor when it is told of changes, nor in the details."""
    site = make_site(evil(now))
    for reload in (False, True):
        if reload:
            browser.show(site.server.url)
        else:
            site.publish(made_up.healthy(now))
            browser.show(site.server.url)
            wait_for(lambda: "live" in browser.text("#link"))
            site.publish(evil(now))
        wait_for(lambda: EVIL in browser.text(".problems"))
        assert EVIL in browser.text(".nodes")
        assert EVIL in browser.text(".observations")
        browser.run("document.querySelector('.nodes td.bad a').click()")
        wait_for(lambda: browser.text("#details .inside").count(EVIL) >= 2)
        assert browser.run("return document.querySelectorAll('img, body script').length") == 1
        assert "evil" not in browser.driver.title
        assert browser.complaints() == []


def evil(now: float) -> ClusterStatus:
    last = made_up.LogLine(now, EVIL)
    service = made_up.service(
        EVIL, "failed", now, last_error=last, log_end=(EVIL, EVIL), log_file=EVIL
    )
    observation = made_up.ObservationOverview(EVIL, EVIL, "running", now, now + 60, ())
    bad = made_up.node(EVIL, service, "processor", now=now, observations=(observation,))
    return made_up.cluster(
        made_up.node(made_up.MASTER, *made_up.ON_MASTER, now=now),
        bad,
        made_up.silent(f"x{EVIL}", EVIL, now),
        now=now,
    )


def test_files_behind_any_web_server(browser: Browser, tmp_path: Path, now: float) -> None:
    live = made_live(made_up.healthy(now), interval=1.0)
    directory = WebDirectory(tmp_path)
    directory.write_all(live)
    with files(tmp_path) as url:
        browser.show(url)
        assert browser.text(".headline") == "Running"
        troubled = made_up.troubled(now)
        live.publish(troubled, find_problems(troubled, made_up.CONTEXT))
        directory.write_all(live)
        wait_for(lambda: browser.text(CELL) == "failed")
        # The service dies: its last page says how old it is, by the web server's clock.
        live.touch(now - 3600.0)
        directory.write_all(live)
        wait_for(lambda: "This page is old: what it shows was so 1 h 00 min ago" in banner(browser))
        assert browser.driver.title.startswith("Old · ")
        browser.screenshot("old")
        # It is stopped: the last page says so.
        live.touch(now)
        live.stop("The status website was stopped.")
        directory.write_all(live)
        wait_for(lambda: "The status website was stopped." in banner(browser))
        assert "darc --host arts041 --service status_website start" in banner(browser)
        browser.screenshot("stopped")
        # And comes back.
        directory.write_all(made_live(made_up.healthy(time.time()), interval=1.0))
        wait_for(lambda: browser.text(".headline") == "Running" and not banner(browser))


def banner(browser: Browser) -> str:
    return browser.text("#banner")


def test_an_open_page_hears_of_the_end_and_of_the_return(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.healthy(now))
    browser.show(site.server.url)
    wait_for(lambda: "live" in browser.text("#link"))
    site.live.stop("The status website was stopped.")
    site.server.stop()
    wait_for(lambda: "The status website was stopped." in banner(browser))
    make_site(made_up.troubled(now), port=site.port)
    wait_for(lambda: "problems" in browser.text(".headline") and not banner(browser))


def test_a_server_that_is_gone_without_a_word_is_noticed(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.healthy(now), interval=0.5)
    browser.show(site.server.url)
    wait_for(lambda: "live" in browser.text("#link"))
    site.server.stop()
    for one in site.server.connections():
        one.shutdown(socket.SHUT_RDWR)
    site.live.stop("")
    wait_for(lambda: browser.attribute("#link", "class") == "lost")
    wait_for(lambda: "does not answer: what it shows was so" in banner(browser))
    assert browser.attribute("#icon", "href").endswith("icon-unknown.svg")
    assert browser.run("return getComputedStyle(document.querySelector('main')).filter") != "none"


def test_without_scripts_all_is_there_and_loads_itself_anew(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.troubled(now), interval=1.0)
    browser.command("Emulation.setScriptExecutionDisabled", ("value", True))
    try:
        browser.show(site.server.url)
        source = browser.driver.page_source
        assert "Without scripts this page cannot count its age" in source
        assert browser.one(CELL).text == "failed"
        site.publish(made_up.healthy(now))
        wait_for(lambda: browser.driver.title.startswith("Running"))
        browser.one(CELL).click()
        wait_for(lambda: "nodes/arts003.html" in browser.driver.current_url)
        assert browser.one("#s-amber_clustering h2").text.startswith("amber_clustering")
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", ("value", False))
        browser.driver.get("about:blank")


def test_nothing_is_loaded_from_elsewhere(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    site = make_site(made_up.troubled(now))
    browser.show(site.server.url)
    wait_for(lambda: "live" in browser.text("#link"))
    browser.one(CELL).click()
    wait_for(lambda: browser.text("#details .inside"))
    loaded = browser.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert loaded
    assert all(name.startswith(site.server.url) for name in loaded)
    # And what comes in by another way is not run.
    browser.run(
        "const one = document.createElement('script');"
        "one.textContent = 'document.title = \"evil\"';"
        "document.body.append(one);"
    )
    assert browser.driver.title != "evil"
    assert "Content Security Policy" in " ".join(browser.complaints())


def test_a_nodes_own_page(browser: Browser, make_site: Callable[..., Site], now: float) -> None:
    site = make_site(made_up.troubled(now))
    for size, (width, height) in SIZES.items():
        browser.show(f"{site.server.url}nodes/arts003.html", width, height)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.screenshot(f"node-{size}", whole=True)
    assert "931 GiB free of 3.6 TiB" in browser.text("#node")


def test_ages_are_counted_in_the_browser(
    browser: Browser, make_site: Callable[..., Site], now: float
) -> None:
    observed = replace(
        made_up.ObservationOverview("1", "B0531+21", "running", now - 30, now + 30, ())
    )
    one = made_up.node(made_up.MASTER, *made_up.ON_MASTER, now=now, observations=(observed,))
    site = make_site(made_up.cluster(one, made_up.silent("arts001", "gone", now - 50), now=now))
    browser.show(site.server.url)

    def age() -> int:
        text = browser.text(".problems [data-ago]").strip("()")
        return 60 if "min" in text else int(text.removesuffix(" s") or 0)

    first = wait_for(lambda: age() >= 50 and age())
    done = browser.run("return document.querySelector('progress').value")
    assert done >= 30
    # What is published does not change: the browser counts.
    wait_for(lambda: age() > first)
    assert browser.run("return document.querySelector('progress').value") > done
