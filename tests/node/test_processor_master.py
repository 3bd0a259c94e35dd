"""The master node gathers what workers bring: a page, an e-mail, and a warning where none come."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import Struct
from nodes import Node, patience, wait_for

from darc.candidates.results.trigger_lists import write_summary, write_triggers
from darc.model.arrival import ArrivalReference
from darc.model.processing_outcome import ListedCandidate, ProcessingSummary
from simulator.mailbox import Mailbox, ReceivedMail
from simulator.write_parsets import MadeObservation, write_observation

WAIT = 30.0
TO = "astronomer@example.org"
#: It is asked itself, and works on the observation, as the first worker would; the other is gone.
WORKERS = ["localhost", "worker02.invalid"]
ROW = ListedCandidate(
    cb=0, snr=23.4, dm=560.5, time=123.4567, downsampling=41, beam=35, probability=0.97
)


class Site(Struct):
    """A master node with an observation that two workers process, whom the test plays."""

    node: Node
    mailbox: Mailbox
    made: MadeObservation

    @property
    def results(self) -> Path:
        (found,) = (self.node.home / "results").glob("*/*")
        return found

    @property
    def page(self) -> Path:
        found = self.results.relative_to(self.node.home / "results")
        return self.node.home / "status" / "triggers_realtime" / found / "index.html"

    def command(self, command: str) -> None:
        reply = self.node.call("darc", "--parset", str(self.made.parset), command)
        assert reply.returncode == 0, reply.stdout

    def bring(self, cb: int, *rows: ListedCandidate) -> None:
        """What a worker writes, the summary last."""
        wait_for(lambda: list((self.node.home / "results").glob("*/*/info.yaml")), WAIT)
        (self.results / f"CB{cb:02d}.pdf").write_bytes(b"%PDF-1.4 of a beam\n")
        write_triggers(self.results / f"CB{cb:02d}_triggers.txt", rows)
        summary = ProcessingSummary(1000, 40, 7, len(rows))
        reference = ArrivalReference(1519.505615, None, 8.192e-5)
        write_summary(self.results / f"CB{cb:02d}_summary.yaml", summary, reference)

    def mails(self, number: int) -> list[ReceivedMail]:
        return self.mailbox.wait_for(number, patience(WAIT))

    def told(self, attribute: str) -> str:
        return str(self.node.ask("--service", "processor", "get_attr", attribute)["processor"])

    def wait_until_over(self) -> None:
        wait_for(lambda: self.node.ask("get_attr", "observations").endswith("= {}"), WAIT)


@pytest.fixture
def site(make_node: Callable[..., Node], tmp_path: Path) -> Iterator[Site]:
    made = write_observation(
        tmp_path / "observation",
        task_id="190518009",
        source="<script>",
        start=time.time(),
        duration=3600.0,
        more={"beams": "[0, 1]"},
    )
    with Mailbox() as mailbox:
        node = make_node(
            "master",
            cluster={"master": "master", "workers": WORKERS},
            control={"bind": "127.0.0.1"},
            mail={"port": mailbox.port, "sender": "darc@example.org"},
            darc_master={"services_master_mix": ["processor"], "setup_time": 0.1},
            processor_master={
                "check_interval": 0.2,
                "max_wait_time": patience(1.0),
                "node_timeout": 5,
                "email_settings": {"to": TO},
            },
        )
        node.start()
        yield Site(node, mailbox, made)


def text_of(received: ReceivedMail) -> str:
    body = received.message.get_body()
    assert body is not None
    return str(body.get_content())


def test_one_email_and_one_page_when_all_are_there(site: Site) -> None:
    site.command("start_observation")
    site.command("stop_observation")
    site.bring(1)
    wait_for(lambda: site.page.exists() and "processing" in site.page.read_text(), WAIT)
    site.bring(0, ROW)
    (received,) = site.mails(1)
    site.wait_until_over()
    assert received.message["Subject"].startswith("DARC results: 1 candidate: ")
    assert received.recipients == (TO,)
    text = text_of(received)
    assert "2 of 2 compound beams were processed." in text
    assert "      2000 candidates of the search" in text
    assert "00   23.40   560.50   123.4567         41  35 0.97" in text
    assert f"All of it: {site.page}" in text
    attached = {part.get_filename() for part in received.message.iter_attachments()}
    assert attached == {"CB00.pdf", "CB01.pdf"}
    assert "560.5" in site.page.read_text()
    assert "<script>" not in site.page.read_text()
    assert "task_id: '190518009'" in (site.results / "info.yaml").read_text()
    (coordinates,) = (site.results / "coordinates.txt").read_text().splitlines()[1:]
    assert coordinates.startswith("00 83.63300 ")
    assert "190518009" in (site.page.parents[2] / "index.html").read_text() or (
        site.results.name.split(".")[0] in (site.page.parents[2] / "index.html").read_text()
    )
    assert len(site.mailbox.received) == 1


def test_a_worker_that_does_not_come_is_told_once(site: Site) -> None:
    """Of one that still works on it nothing is said; an empty file has the other one fail."""
    site.command("start_observation")
    site.command("stop_observation")
    (warning,) = site.mails(1)
    assert warning.message["Subject"].startswith("DARC results missing: CB01, ")
    text = text_of(warning)
    assert "worker02.invalid: " in text
    assert "CB00" not in text
    # It is noted that the mail went: otherwise it would go again, with the same Message-ID.
    wait_for(lambda: site.told("mails_waiting").endswith(": []}"), WAIT)
    os.kill(site.node.pid("processor"), signal.SIGKILL)
    wait_for(lambda: site.node.states()["processor"] == "running", WAIT)
    wait_for(
        lambda: (
            "190518009" in str(site.node.ask("--service", "processor", "get_attr", "processing"))
        ),
        WAIT,
    )
    (command,) = (line for line in text.splitlines() if line.startswith("  : > "))
    site.bring(0, ROW)
    subprocess.run(command, shell=True, check=True)
    received = site.mails(2)[1]
    assert "Not processed: CB01" in text_of(received)
    site.wait_until_over()
    assert len(site.mailbox.received) == 2
    assert "failed" in site.page.read_text()


def test_what_cannot_be_read_counts_as_failed(site: Site) -> None:
    site.command("start_observation")
    site.command("stop_observation")
    site.bring(0, ROW)
    path = site.results / "CB01_summary.yaml"
    path.write_text("ncand_raw: many\n")
    (received,) = site.mails(1)
    assert "Not processed: CB01" in text_of(received)
    assert f"{path}:1" in site.node.log("processor")
    site.wait_until_over()


def test_no_mail_server_and_no_place_for_the_page(site: Site) -> None:
    """The results wait for their page, the mail for its server; neither is lost."""
    site.mailbox.close()
    date = time.strftime("%Y%m%d", time.gmtime(site.made.start))
    in_the_way = site.node.home / "status" / "triggers_realtime" / date
    index = in_the_way.with_name("index.html")
    wait_for(index.exists, WAIT, "a page that can be linked to")
    in_the_way.write_text("a file")
    site.command("start_observation")
    site.command("stop_observation")
    site.bring(0, ROW)
    site.bring(1)
    wait_for(lambda: "the results cannot be collected now" in site.node.log("processor"), WAIT)
    in_the_way.unlink()
    site.wait_until_over()
    assert "560.5" in site.page.read_text()
    os.kill(site.node.pid("processor"), signal.SIGKILL)
    with Mailbox(site.mailbox.port) as back:
        (received,) = back.wait_for(1, patience(WAIT))
    assert "1 candidate" in received.message["Subject"]
