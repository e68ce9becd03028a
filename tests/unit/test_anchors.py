"""The anchor's arithmetic: a Merkle root as RFC 6962 defines it, and the text that is kept outside."""

from datetime import date
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from dispatch import anchors


def defined(leaves: list[bytes]) -> bytes:
    """Return the tree hash as the RFC's recursive definition has it: slow and plain."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + defined(leaves[:half]) + defined(leaves[half:])).digest()


@given(st.integers(0, 70))
def test_streamed_root_equals_the_recursive_definition(count: int) -> None:
    leaves = [sha256(bytes([i])).digest() for i in range(count)]
    assert anchors.merkle(iter(leaves)) == defined(leaves)


def test_root_tells_order_and_number_of_the_entries() -> None:
    a, b, c = (sha256(bytes([i])).digest() for i in range(3))
    roots = [anchors.merkle(some) for some in ([a, b, c], [b, a, c], [a, b], [a, b, c, c], [])]
    assert len(set(roots)) == len(roots)


def some_link(day: int = 18) -> anchors.Link:
    summed = anchors.Sum(3, 2, sha256(b"root").digest())
    when, prev = date(2026, 11, day), anchors.genesis("990100")
    return anchors.Link(when, *summed, prev, anchors.link("990100", when, summed, prev))


def test_kept_text_is_read_back_as_it_was() -> None:
    one = some_link()
    said = anchors.written([one], district="990100", name="试验区")
    assert anchors.read_written(said, district="990100") == {one.day: (3, 2, one.root, one.hash)}
    # An editor on Windows changes the ends of lines and puts a mark in front.
    assert anchors.read_written("\ufeff" + said.replace("\n", "\r\n"), district="990100").keys() == {one.day}


@pytest.mark.parametrize(
    "said",
    ["", "day,entries", "# wangge anchors 1\nnonsense", "# wangge anchors 1\n2026-11-18\t1\t1\tzz\tzz", "\x00\x01"],
)
def test_anything_else_is_no_kept_text(said: str) -> None:
    with pytest.raises(Invalid):
        anchors.read_written(said, district="990100")


def test_kept_text_of_another_district_is_refused() -> None:
    said = anchors.written([some_link()], district="990100", name="试验区")
    with pytest.raises(Invalid, match="990100"):
        anchors.read_written(said, district="990200")
