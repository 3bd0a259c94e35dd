"""Checks of external systems. Nothing is sent that they would act on."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator

from darc.cli.check_results import ANSWER_SECONDS, CheckedNode, CheckResult, good, warn, wrong
from darc.runtime.service_traits import traits_of


def broker(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check the VOEvent broker by a connection, which is closed without sending."""
    settings = checked.config.voevent_generator
    if "voevent_generator" not in checked.config.services():
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


def mail(checked: CheckedNode) -> Iterator[CheckResult]:
    """The server of e-mail is greeted, and left."""
    config = checked.config
    users = [
        name
        for name in config.services()
        if (section := traits_of(name).mails) and config.section(section).email_settings.to
    ]
    if not users:
        yield good("no e-mail recipients are configured")
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


def lofar(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check the name of the LOFAR host; nothing is sent there."""
    settings = checked.config.lofar_trigger
    if "lofar_trigger" not in checked.config.services():
        return
    try:
        found = socket.getaddrinfo(settings.lofar_host, settings.lofar_port, type=socket.SOCK_DGRAM)
    except OSError as error:
        say = wrong if settings.send_events else warn
        yield say(f"{settings.lofar_host}: {error.strerror}", f"getent hosts {settings.lofar_host}")
    else:
        yield good(f"{settings.lofar_host} is {found[0][4][0]}, port {settings.lofar_port} (UDP)")


def dada_dbevent(checked: CheckedNode) -> Iterator[CheckResult]:
    """Check that dada_dbevent listens; a connection would count as a request."""
    settings = checked.config.dada_trigger
    if "dada_trigger" not in checked.config.services():
        return
    listen = {one.port for one in checked.listeners()}
    missing = [port for port in (settings.port_i, settings.port_iquv) if port not in listen]
    if missing:
        yield warn(
            f"no process listens on {' and '.join(map(str, missing))}: no dumps are possible",
            "start dada_dbevent before the observation",
        )
    else:
        yield good(f"listens on {settings.port_i} and {settings.port_iquv}")
