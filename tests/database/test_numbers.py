"""Case numbers: checked, per day, and never the same one twice, whoever hands them out."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from core.ids import is_checked
from dispatch.numbers import Numbers, access_code, access_hash, spoken
from tests import tiny

pytestmark = pytest.mark.database

AT = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


def test_numbers_of_many_threads_and_processes_differ(district: tiny.Tiny) -> None:
    at = AT + timedelta(days=40)
    one, other = Numbers(tiny.DISTRICT), Numbers(tiny.DISTRICT)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: (one, other)[i % 2].take(at), range(900)))
    assert len(set(found)) == 900
    assert all(is_checked(number) and number.startswith("20261231") for number in found)


def test_forked_process_takes_a_block_of_its_own(district: tiny.Tiny) -> None:
    from core.db import forget_engines

    numbers = Numbers(tiny.DISTRICT)
    mine = {numbers.take(AT) for _ in range(3)}
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        forget_engines()
        os.write(write, "\n".join(numbers.take(AT) for _ in range(3)).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    theirs = set(os.read(read, 1000).decode().split())
    os.close(read)
    assert len(theirs) == 3
    assert not mine & theirs
    assert not theirs & {numbers.take(AT) for _ in range(300)}


def test_day_of_the_number_is_chinas(district: tiny.Tiny) -> None:
    assert Numbers(tiny.DISTRICT).take(datetime(2026, 11, 21, 17, 0, tzinfo=UTC)).startswith("20261122")


def test_number_can_be_read_aloud_and_its_code_opens_it() -> None:
    assert spoken("202611210000018") == "2026 1121 000001 8"
    code = access_code("202611210000018")
    assert code == access_code("202611210000018")
    assert access_hash("202611210000018", f" {code.lower()} ") == access_hash("202611210000018", code)
    assert access_hash("202611210000026", code) != access_hash("202611210000018", code)
