"""Checks of the systems outside. Nothing is sent to them that they would act on."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator

from darc.cli.check_results import ANSWER_SECONDS, CheckedNode, CheckResult, good, warn, wrong
from darc.runtime.service_traits import traits_of


def broker(patient: CheckedNode) -> Iterator[CheckResult]:
    """A connection is made to the broker of VOEvents, and closed without a word."""
    settings = patient.config.voevent_generator
    if "voevent_generator" not in patient.config.services():
        return
    where = f"{settings.broker_host}:{settings.broker_port}"
    try:
        socket.create_connection(
            (settings.broker_host, settings.broker_port), ANSWER_SECONDS
        ).close()
    except OSError as error:
        say = wrong if settings.send_events else warn
        off = "" if settings.send_events else " (VOEvents are not sent by default)"
        yield say(
            f"{where}: {_why(error)}{off}", "start the broker, or set voevent_generator.broker_host"
        )
    else:
        yield good(f"{where} takes connections")


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    return error.strerror or str(error)


def mail(patient: CheckedNode) -> Iterator[CheckResult]:
    """The server of e-mail is greeted, and left."""
    config = patient.config
    users = [
        name
        for name in config.services()
        if (section := traits_of(name).mails) and config.section(section).email_settings.to
    ]
    if not users:
        yield good("nobody is to get e-mails")
        return
    where = f"{config.mail.host}:{config.mail.port}"
    remedy = "start the server, or set mail.host and mail.port"
    try:
        with smtplib.SMTP(config.mail.host, config.mail.port, timeout=ANSWER_SECONDS) as server:
            server.noop()
    except smtplib.SMTPException as error:
        yield wrong(f"{where}: {error}", remedy)
    except OSError as error:
        yield wrong(f"{where}: {_why(error)}", remedy)
    else:
        yield good(f"{where} answers, for {' and '.join(users)}")


def lofar(patient: CheckedNode) -> Iterator[CheckResult]:
    """The name is looked up; nothing is sent there."""
    settings = patient.config.lofar_trigger
    if "lofar_trigger" not in patient.config.services():
        return
    try:
        found = socket.getaddrinfo(settings.lofar_host, settings.lofar_port, type=socket.SOCK_DGRAM)
    except OSError as error:
        say = wrong if settings.send_events else warn
        yield say(f"{settings.lofar_host}: {error.strerror}", f"getent hosts {settings.lofar_host}")
    else:
        yield good(f"{settings.lofar_host} is {found[0][4][0]}, port {settings.lofar_port} (UDP)")


def dada_dbevent(patient: CheckedNode) -> Iterator[CheckResult]:
    """Whether it listens on this machine; it is not connected to, as it would read a request."""
    settings = patient.config.dada_trigger
    if "dada_trigger" not in patient.config.services():
        return
    listen = {one.port for one in patient.listeners()}
    missing = [port for port in (settings.port_i, settings.port_iquv) if port not in listen]
    if missing:
        yield warn(
            f"nobody listens on {' and '.join(map(str, missing))}: no dumps now",
            "start dada_dbevent before the observation",
        )
    else:
        yield good(f"listens on {settings.port_i} and {settings.port_iquv}")
