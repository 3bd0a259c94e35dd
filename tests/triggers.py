"""Triggers for tests."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from darc.model.trigger import Trigger

TRIGGER = Trigger(
    observation="190518009",
    window=9,
    dm_bin=4,
    name="candidate",
    src_name=None,
    dm=1056.6,
    dm_err=0.8,
    dm_cluster=1056.6,
    width=0.8192,
    downsampling=10,
    snr=28.4666,
    flux=1.5,
    ra=83.633,
    dec=22.0145,
    cb=0,
    sb=35,
    ymw16=190.5,
    galactic_model="YMW16",
    semiMaj=15.0,
    semiMin=15.0,
    datetimesource="2019-05-18-23:51:13.FAKE",
    utc="2019-05-18T23:51:23.314159",
    tarr=9.841,
    count=12,
    importance=0.1,
    dt=8.192e-5,
    delta_nu_MHz=0.1953125,
    nu_GHz=1.37,
)

#: That of the examples in the project's specification.
SPECIFIED = Trigger(
    observation="190518009",
    window=3,
    dm_bin=7,
    name="candidate",
    src_name=None,
    dm=1056.6,
    dm_err=1.25,
    dm_cluster=1056.6,
    width=0.8192,
    downsampling=10,
    snr=28.4666,
    flux=4.0375,
    ra=83.633125,
    dec=-22.0145,
    cb=7,
    sb=35,
    ymw16=188.5,
    galactic_model="YMW16",
    semiMaj=15.0,
    semiMin=14.0,
    datetimesource="2019-05-18-23:51:13.B1933+16",
    utc="2019-05-18T23:51:22.793214",
    tarr=9.841,
    count=12,
    importance=0.1,
    dt=81.92e-6,
    delta_nu_MHz=300 / 1536,
    nu_GHz=1.36960327148,
)


def made_trigger(**changes: Any) -> Trigger:
    """A trigger that is usual where it is not changed."""
    return replace(TRIGGER, **changes)
