"""What was measured of twins and hot matters, with a margin below it, so that a change for the worse is seen."""

import pytest

from core.settings import settings
from hotline.evaluate import hot, twins
from hotline.evaluate.twins import counted, fitted, grouped, later, messages, pairs
from hotline.understand import SURE_OF_TWIN

pytestmark = pytest.mark.unit

DATA = settings().data


def given(name: str) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"no given data at {DATA}: {name} is absent, twins and hot matters are not measured")


def test_no_message_is_in_both_halves() -> None:
    known = pairs()
    sides = {
        half: {(p.source, i) for p in known if p.half == half for i in (p.older, p.newer)}
        for half in ("building", "kept")
    }
    assert not sides["building"] & sides["kept"]
    assert len(known) >= 300
    assert min(sum(p.half == half for p in known) for half in ("building", "kept")) >= 150


def test_no_pair_that_was_drawn_for_fitting_touches_the_kept_half() -> None:
    kept = {(p.source, i) for p in pairs() if p.half == "kept" for i in (p.older, p.newer)}
    some = fitted()
    assert len(some) >= 100
    assert not kept & {(p.source, i) for p in some for i in (p.older, p.newer)}
    assert not {(p.source, p.older, p.newer) for p in some} & {(p.source, p.older, p.newer) for p in pairs()}
    assert {p.half for p in some} == {"building"}


def test_no_message_of_the_later_sample_is_in_another() -> None:
    before = {(p.source, i) for p in (*pairs(), *fitted()) for i in (p.older, p.newer)}
    assert not before & {(p.source, i) for p in later() for i in (p.older, p.newer)}


def test_every_label_names_a_message_of_the_data() -> None:
    given("complaints/messages_hot.csv")
    ids = {source: {one.id for one in messages(DATA, source)} for source in ("hot", "weibo")}
    assert all({pair.older, pair.newer} <= ids[pair.source] for pair in (*pairs(), *fitted(), *later()))
    assert set(hot.labels()) <= ids["hot"]


def test_reposts_and_pleas_keep_what_was_measured() -> None:
    given("weibo/posts.csv")
    groups = {"weibo": grouped(messages(DATA, "weibo"), SURE_OF_TWIN)}
    found = counted((pair for pair in pairs() if pair.source == "weibo"), groups)
    assert found.precision >= 0.82
    assert found.recall >= 0.72


def test_complaints_keep_what_was_measured_and_no_hot_matter_is_invented() -> None:
    given("complaints/messages_hot.csv")
    stream = messages(DATA, "hot")[-900:]
    ids = {one.id for one in stream}
    known = [pair for pair in pairs() if pair.source == "hot" and {pair.older, pair.newer} <= ids]
    found = counted(known, {"hot": grouped(stream, SURE_OF_TWIN)})
    assert found.precision >= 0.86
    assert found.recall >= 0.75
    made = hot.announcements(stream, hot.labels())
    assert sum(not one.matter for one in made) <= 1
    assert {"car_park_sale", "night_food"} <= {one.matter for one in made}


def test_figures_say_that_data_are_absent(tmp_path: object) -> None:
    for part in (twins, hot):
        (figure,) = part.figures(tmp_path, quick=True)  # type: ignore[arg-type]
        assert figure.n == 0
        assert "absent" in figure.note
