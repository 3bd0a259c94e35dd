"""Headers: read as written, and clear about everything that is wrong."""

from __future__ import annotations

import math
import struct
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from darc.data_files.filterbank_header import (
    BITS,
    MAX_HEADER,
    FilterbankError,
    FilterbankHeader,
    IncompleteHeaderError,
    format_header,
    parse_header,
)

HEADER = FilterbankHeader(
    nchans=1536,
    nbits=8,
    tsamp=81.92e-6,
    fch1=1519.50562,
    foff=-0.1953125,
    tstart=58543.33,
    source_name="B0531+21",
    nbeams=12,
    ibeam=3,
)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0 "), max_size=100)
integers = st.integers(-(2**31), 2**31 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)


def optional(values):
    return st.none() | values


@st.composite
def headers(draw):
    nbits = draw(st.sampled_from(BITS))
    nchans = draw(st.integers(1, 512)) * (8 // min(nbits, 8))
    foff = draw(st.floats(1e-3, 10)) * draw(st.sampled_from([-1, 1]))
    return FilterbankHeader(
        nchans=nchans,
        nbits=nbits,
        tsamp=draw(st.floats(1e-9, 10)),
        fch1=draw(st.floats(50_000, 100_000)),
        foff=foff,
        nifs=draw(st.integers(1, 4)),
        signed=draw(st.integers(0, 1)) if nbits == 8 else 0,
        tstart=draw(optional(st.floats(0, 100_000))),
        data_type=draw(st.sampled_from([None, 0, 1])),
        **{name: draw(optional(texts)) for name in ("source_name", "rawdatafile")},
        **{name: draw(optional(numbers)) for name in ("src_raj", "src_dej", "az_start", "refdm")},
        **{name: draw(optional(integers)) for name in ("telescope_id", "nbeams", "nsamples")},
    )


def string(text: str) -> bytes:
    return struct.pack("<i", len(text)) + text.encode()


def with_key(key: str, value: bytes) -> bytes:
    """HEADER with a key more, in the middle."""
    begin = string("HEADER_START")
    return begin + string(key) + value + format_header(HEADER)[len(begin) :]


@given(headers(), st.binary(max_size=50))
def test_is_read_as_written(header, data):
    written = format_header(header)
    parsed = parse_header(written + data, "a.fil")
    texts = {key: getattr(header, key) or None for key in ("source_name", "rawdatafile")}
    # What says nothing is left out: other programs do not know it.
    said = replace(header, refdm=header.refdm or None, **texts)
    assert parsed.header == said
    assert (b"signed" in written) == (header.signed == 1)
    assert parsed.size == len(written)
    assert parsed.unknown == ()


@given(headers(), st.data())
def test_a_part_of_a_header_is_incomplete(header, data):
    written = format_header(header)
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(IncompleteHeaderError, match=r"a\.fil: (empty|ends after)"):
        parse_header(written[:cut], "a.fil")


@given(st.binary(max_size=300), st.booleans())
def test_nonsense_is_refused(data, started):
    data = string("HEADER_START") + data if started else data
    with pytest.raises(FilterbankError, match=r"a\.fil"):
        parse_header(data, "a.fil")


@given(headers(), st.data())
def test_a_damaged_header_is_read_or_refused(header, data):
    written = bytearray(format_header(header))
    for _ in range(data.draw(st.integers(1, 4))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FilterbankError):
        parsed = parse_header(bytes(written), "a.fil")
        assert 1 <= parsed.header.nchans <= 1_048_576
        assert parsed.header.bytes_per_sample >= 1
        assert (parsed.header.frequencies > 0).all()


@given(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True),
    st.one_of(
        st.just(b""),
        integers.map(struct.Struct("<i").pack),
        numbers.map(struct.Struct("<d").pack),
        st.from_regex(r"[ -~]{1,100}", fullmatch=True).map(string),
    ),
    st.integers(1, 3),
)
@example("observer", struct.pack("<i", 14), 1)  # looks like a text that ends where nbits begins
def test_unknown_keys_are_skipped_and_named(key, value, times):
    assume(value or times == 1)  # a key without a value looks like the text behind another
    assume(key not in {field.name for field in fields(FilterbankHeader)})
    assume(key not in ("fchannel", "FREQUENCY_START", "FREQUENCY_END", "HEADER_END"))
    once = string(key) + value
    begin = len(string("HEADER_START"))
    written = format_header(HEADER)
    parsed = parse_header(written[:begin] + times * once + written[begin:], "a.fil")
    assert parsed.header == HEADER
    assert parsed.unknown == times * (key,)


def test_a_header_that_ends_in_an_unknown_value_is_incomplete():
    written = with_key("observer", string("somebody with a long name"))
    for cut in range(len(string("HEADER_START")), len(written)):
        with pytest.raises(IncompleteHeaderError):
            parse_header(written[:cut], "a.fil")


def test_nothing_known_behind_an_unknown_key():
    data = string("HEADER_START") + string("observer") + b"\xff" * 200
    with pytest.raises(FilterbankError, match="observer: unknown key, and no known key follows"):
        parse_header(data, "a.fil")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("nchans", 0),
        ("nchans", -4),
        ("nchans", 2**31 - 1),
        ("nbits", 3),
        ("nbits", 64),
        ("nifs", 0),
        ("tsamp", 0.0),
        ("tsamp", -1e-3),
        ("tsamp", math.nan),
        ("fch1", math.inf),
        ("fch1", -1400.0),
        ("foff", 0.0),
        ("foff", -1.0),  # 1536 of them reach below 0
        ("signed", 2),
        ("data_type", 2),
        ("tstart", -1.0),
        ("tstart", math.nan),
    ],
)
def test_a_value_that_is_not_allowed_is_named(key, value):
    layout = "<b" if key == "signed" else "<i" if isinstance(value, int) else "<d"
    written = format_header(replace(HEADER, signed=1, data_type=1))
    name = string(key)
    place = written.index(name) + len(name)
    size = struct.calcsize(layout)
    written = written[:place] + struct.pack(layout, value) + written[place + size :]
    with pytest.raises(FilterbankError) as raised:
        parse_header(written, "dir/a.fil")
    assert str(raised.value).startswith("dir/a.fil: ")
    assert f"{key}: " in str(raised.value)
    assert f"{value}" in str(raised.value)
    assert "allowed: " in str(raised.value)


@pytest.mark.parametrize("nbits", [1, 2, 4])
def test_a_moment_is_of_whole_bytes(nbits):
    with pytest.raises(FilterbankError, match=f"nchans: 1535 channels, 1 IFs, of {nbits} bits"):
        format_header(replace(HEADER, nchans=1535, nbits=nbits))


def test_only_bytes_are_signed():
    with pytest.raises(FilterbankError, match="signed: 1 with 16 bits"):
        format_header(replace(HEADER, signed=1, nbits=16))


@pytest.mark.parametrize("key", ["nchans", "nbits", "tsamp", "fch1", "foff"])
def test_a_key_that_is_missing_is_named(key):
    written = format_header(HEADER)
    size = len(string(key)) + (4 if isinstance(getattr(HEADER, key), int) else 8)
    place = written.index(string(key))
    with pytest.raises(FilterbankError, match=rf"a\.fil: {key}: missing"):
        parse_header(written[:place] + written[place + size :], "a.fil")


def test_everything_wrong_is_named_at_once():
    data = string("HEADER_START") + string("nbits") + struct.pack("<i", 99) + string("HEADER_END")
    with pytest.raises(FilterbankError, match=r"(?s)nchans: missing.*nbits: 99.*foff: missing"):
        parse_header(data, "a.fil")


def test_a_value_twice():
    same = struct.pack("<i", 1536)
    assert parse_header(with_key("nchans", same), "a.fil").header == HEADER
    with pytest.raises(FilterbankError, match=r"a\.fil: nchans: 12 and 1536"):
        parse_header(with_key("nchans", struct.pack("<i", 12)), "a.fil")


@pytest.mark.parametrize("length", [-1, 100_000, 2**31 - 1])
def test_a_length_is_not_trusted(length):
    data = string("HEADER_START") + string("source_name") + struct.pack("<i", length) + b"x" * 99
    with pytest.raises(FilterbankError, match=f"source_name: a length of {length}; allowed"):
        parse_header(data, "a.fil")


def test_big_endian_is_named():
    with pytest.raises(FilterbankError, match="big-endian"):
        parse_header(b"\0\0\0\x0cHEADER_START", "a.fil")


def test_another_kind_of_file_is_named():
    with pytest.raises(FilterbankError, match="not a SIGPROC file, but a FITS file"):
        parse_header(b"SIMPLE  =                    T / FITS", "a.fil")
    with pytest.raises(FilterbankError, match="compressed with gzip: gunzip it first"):
        parse_header(b"\x1f\x8b\x08\x00", "a.fil.gz")
    with pytest.raises(FilterbankError, match="not a SIGPROC file: it starts with b'anything"):
        parse_header(b"anything else", "a.fil")


def test_a_header_has_an_end():
    data = string("HEADER_START") + (string("nbeams") + struct.pack("<i", 1)) * (MAX_HEADER // 10)
    with pytest.raises(FilterbankError, match="no HEADER_END in the first"):
        parse_header(data[:MAX_HEADER], "a.fil")


def test_so_many_unknown_keys_are_skipped():
    begin, written = string("HEADER_START"), format_header(HEADER)
    for n in (64, 65):
        data = begin + n * (string("spare") + bytes(8)) + written[len(begin) :]
        if n == 64:
            assert parse_header(data, "a.fil").unknown == n * ("spare",)
        else:
            with pytest.raises(FilterbankError, match=r"a\.fil: spare: more than 64 unknown"):
                parse_header(data, "a.fil")


def test_unknown_keys_without_an_end():
    data = string("HEADER_START") + string("x") * 100_000 + format_header(HEADER)[16:]
    with pytest.raises(FilterbankError, match=r"x: (more than 64 unknown keys|unknown key, and)"):
        parse_header(data, "a.fil")


def test_what_is_not_known_may_be_no_number():
    written = with_key("az_start", struct.pack("<d", math.nan))
    assert parse_header(written, "a.fil").header == HEADER


def test_a_name_that_is_no_text_is_shown():
    header = parse_header(with_key("rawdatafile", b"\3\0\0\0a\xffb"), "a.fil").header
    assert header.rawdatafile == "a\\xffb"


def table(*frequencies: float) -> bytes:
    entries = b"".join(string("fchannel") + struct.pack("<d", value) for value in frequencies)
    return string("FREQUENCY_START") + entries + string("FREQUENCY_END")


def with_table(nchans: int, *frequencies: float) -> bytes:
    header = format_header(replace(HEADER, nchans=nchans))
    return header[: -len(string("HEADER_END"))] + table(*frequencies) + string("HEADER_END")


def test_a_table_of_frequencies():
    header = parse_header(with_table(4, 1400.0, 1399.5, 1399.0, 1398.5), "a.fil").header
    assert (header.fch1, header.foff) == (1400.0, -0.5)


@pytest.mark.parametrize(
    ("nchans", "frequencies", "words"),
    [
        (3, (1400, 1399, 1397), "not evenly spaced"),
        (3, (1400, math.nan, 1398), "not evenly spaced"),
        (4, (1400, 1399, 1398), "3 frequencies for 4 channels"),
    ],
)
def test_a_table_that_is_no_band(nchans, frequencies, words):
    with pytest.raises(FilterbankError, match=f"fchannel: .*{words}"):
        parse_header(with_table(nchans, *frequencies), "a.fil")


def test_the_band():
    rising = replace(HEADER, fch1=1200.0, foff=0.5, nchans=4)
    assert not rising.descending
    assert rising.f_lowest == 1200.0
    assert rising.frequencies.tolist() == [1200.0, 1200.5, 1201.0, 1201.5]
    falling = replace(HEADER, fch1=1201.5, foff=-0.5, nchans=4)
    assert falling.descending
    assert falling.f_lowest == 1200.0
    assert falling.frequencies.tolist() == [1201.5, 1201.0, 1200.5, 1200.0]
    assert falling.channel_width == 0.5


@pytest.mark.parametrize("name", ["x" * 5000, " padded", "\udcff"])
def test_a_text_that_cannot_be_read_back_is_not_written(name):
    with pytest.raises(FilterbankError, match="source_name"):
        format_header(replace(HEADER, source_name=name))


def test_an_integer_that_does_not_fit_is_not_written():
    with pytest.raises(FilterbankError, match="nbeams: 4294967296 cannot be written"):
        format_header(replace(HEADER, nbeams=2**32))


def without(written: bytes, key: str) -> bytes:
    """A header that does not have a key with a double."""
    begin = written.index(string(key))
    return written[:begin] + written[begin + len(string(key)) + 8 :]


@pytest.mark.parametrize("data_type", [None, 2])
def test_a_time_series_needs_no_foff(data_type):
    series = replace(HEADER, nchans=1, nbits=32, data_type=data_type, refdm=56.77)
    found = parse_header(without(format_header(series), "foff"), "a.tim").header
    assert found == replace(series, foff=0.0)
    assert found.is_series
    assert parse_header(format_header(found), "a.tim").header == found
    assert series.is_series == (data_type == 2)
    with pytest.raises(FilterbankError, match="foff: missing"):
        parse_header(without(format_header(HEADER), "foff"), "a.fil")
