"""The static site as people use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Browser, files
from msgspec.structs import replace
from selenium.webdriver.common.keys import Keys

from darc.candidates.results.results_site import write_observation_page
from darc.candidates.results.site_lists import write_lists
from darc.model.results import ObservationResults

SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
COLUMN = "return [...document.querySelectorAll('.candidates tbody tr:not([hidden]) [data-%s]')]"
COLUMN += ".map((one) => Number(one.dataset.%s))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, made_results: ObservationResults) -> Path:
    site = tmp_path_factory.mktemp("site")
    other = replace(
        made_results.observation,
        source="3C286drift0107, <b>a long name</b> of a source that takes room",
        datetimesource="2019-05-17-10:00:00.3C286drift0107",
        date="20190517",
        start=1558087200.0,
        task_id="190517003",
    )
    write_observation_page(site, replace(made_results, observation=other, done=True))
    write_observation_page(site, made_results)
    write_lists(site)
    return site


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    with files(site) as url:
        yield url


PAGE = "20190518/2019-05-18-12%3A34%3A56.B1933%2B16/index.html"


def column(browser: Browser, name: str) -> list[float]:
    return list(browser.run(COLUMN % (name, name)))


@pytest.mark.parametrize(
    ("size", "scheme"),
    [("desktop", "light"), ("desktop", "dark"), ("tablet", "light"), ("phone", "dark")],
)
def test_it_fits_and_axe_finds_nothing(
    browser: Browser, address: str, size: str, scheme: str
) -> None:
    for name, page in (
        ("index", "index.html"),
        ("year", "year-2019.html"),
        ("day", "20190518/index.html"),
        ("observation", PAGE),
    ):
        browser.show(address + page, *SIZES[size], scheme)
        assert browser.run("return document.documentElement.scrollWidth") <= SIZES[size][0]
        assert browser.complaints() == []
        assert browser.serious() == []
        browser.screenshot(f"results-{name}-{size}-{scheme}")


def test_names_have_room_on_a_phone(browser: Browser, address: str) -> None:
    """All that a row says is seen, and no letter stands alone."""
    for page in ("index.html", "20190518/index.html"):
        browser.show(address + page, *SIZES["phone"])
        widths = browser.run(
            "return [...document.querySelectorAll('.observations-table tbody th')]"
            ".map((one) => one.getBoundingClientRect().width)"
        )
        assert widths
        assert min(widths) > 250
        right = browser.run(
            "return Math.max(...[...document.querySelectorAll('.observations-table td')]"
            ".map((one) => one.getBoundingClientRect().right))"
        )
        assert right <= 390


def test_what_has_no_date_is_not_of_1970(
    browser: Browser, made_results: ObservationResults, tmp_path: Path
) -> None:
    undated = replace(
        made_results.observation, start=0.0, date="undated", datetimesource="undated.file"
    )
    page = write_observation_page(tmp_path, replace(made_results, observation=undated))
    write_lists(tmp_path)
    for path in (page, tmp_path / "index.html", tmp_path / "undated" / "index.html"):
        browser.show(path.as_uri())
        assert "1970" not in browser.run("return document.documentElement.outerHTML")
        assert "not known" in browser.text("main")


def test_sorting(browser: Browser, address: str) -> None:
    browser.show(address + PAGE)
    assert column(browser, "p") == sorted(column(browser, "p"), reverse=True)
    head = "th[data-key=snr]"
    browser.one(f"{head} button").click()
    assert column(browser, "snr") == sorted(column(browser, "snr"), reverse=True)
    assert browser.attribute(head, "aria-sort") == "descending"
    assert browser.run("return document.querySelectorAll('[aria-sort]').length") == 1
    # By keyboard, the other way round.
    browser.one(f"{head} button").send_keys(Keys.ENTER)
    assert column(browser, "snr") == sorted(column(browser, "snr"))
    assert browser.attribute(head, "aria-sort") == "ascending"
    for key in ("dm", "mw", "cb", "sb", "t", "w", "p"):
        browser.one(f"th[data-key={key}] button").click()
        found = [value for value in column(browser, key) if value]
        ascending = browser.attribute(f"th[data-key={key}]", "aria-sort") == "ascending"
        assert found == sorted(found, reverse=not ascending), key


def test_filtering(browser: Browser, address: str) -> None:
    browser.show(address + PAGE)
    everything = column(browser, "dm")
    assert browser.text(".count") == f"{len(everything)} of {len(everything)}"
    browser.one("[name=dm_from]").send_keys("300")
    browser.one("[name=dm_to]").send_keys("900,5")
    found = column(browser, "dm")
    assert sorted(found) == sorted(one for one in everything if 300 <= one <= 900.5)
    assert 0 < len(found) < len(everything)
    assert browser.text(".count") == f"{len(found)} of {len(everything)}"
    browser.one("[name=snr]").send_keys("10")
    assert all(one >= 10 for one in column(browser, "snr"))
    browser.one("[name=p]").send_keys("0.8")
    assert all(one >= 0.8 for one in column(browser, "p"))
    browser.one("button[type=reset]").send_keys(Keys.SPACE)
    browser.run("return new Promise((done) => setTimeout(done))")
    assert len(column(browser, "dm")) == len(everything)
    cb = column(browser, "cb")[0]
    browser.one("[name=cb]").send_keys(f"{cb:02.0f}")
    assert set(column(browser, "cb")) == {cb}
    browser.one("[name=snr]").send_keys("many")
    assert browser.attribute("[name=snr]", "aria-invalid") == "true"
    assert set(column(browser, "cb")) == {cb}


def test_large_pictures(browser: Browser, address: str) -> None:
    browser.show(address + PAGE)
    width = "return document.querySelector('.look img').getBoundingClientRect().width"
    small = browser.run(width)
    browser.one("button.view").click()
    assert browser.attribute("button.view", "aria-pressed") == "true"
    assert browser.run(width) > 2 * small
    browser.run("document.querySelector('#candidates').scrollIntoView()")
    assert browser.serious() == []
    browser.run(
        "const image = document.querySelector('.look img');"
        "return image.decode().then(() => image.naturalWidth)"
    )
    browser.screenshot("results-gallery")


def test_without_scripts(browser: Browser, address: str) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", ("value", True))
    try:
        browser.show(address + PAGE)
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", ("value", False))
    assert column(browser, "p") == sorted(column(browser, "p"), reverse=True)
    assert not browser.one("form.filters").is_displayed()
    assert not browser.run("return document.querySelector('thead button')")


def test_from_disk(browser: Browser, site: Path) -> None:
    browser.show((site / "index.html").as_uri())
    browser.one("a[href*=B1933]").click()
    assert "B1933+16" in browser.driver.title
    browser.one("th[data-key=dm] button").click()
    assert column(browser, "dm") == sorted(column(browser, "dm"), reverse=True)
    assert browser.complaints() == []
    assert (
        browser.run("return getComputedStyle(document.querySelector('.wide')).overflowX") == "auto"
    )
    browser.one("h1 a").click()
    assert browser.driver.current_url == (site / "index.html").as_uri()


def test_by_year_and_day(browser: Browser, site: Path) -> None:
    browser.show((site / "index.html").as_uri())
    browser.one("nav a[href*=year]").click()
    assert "2019" in browser.driver.title
    browser.one("main a[href*='20190517']").click()
    assert "17 May 2019" in browser.driver.title
    browser.one("a[href*='3C286']").click()
    assert "3C286drift0107" in browser.driver.title
    assert browser.complaints() == []
