"""The geocoder beside pg_trgm over the same register: `wangge with-servers -- python -m bench.geocode_peer`.

The peer is a search as many districts have it: `word_similarity` of each name with the text, the most similar first,
by a GIN index. Asked on the figure half of `hotline.evaluate.place_texts`; a temporary table, nothing stays.
"""

import sys
import time
from collections.abc import Callable

from sqlalchemy import Connection, text

from core.db import make_engine
from core.settings import settings
from hotline.evaluate import nanhai
from hotline.evaluate.place_texts import Asker, LngLat, apart
from hotline.geocode import Geocoder

#: Texts of each kind.
_COUNT = 150
_ASK = text("""
    SELECT lng, lat FROM peer WHERE name <% :said ORDER BY word_similarity(name, :said) DESC, length(name) DESC LIMIT 1
""")


def prepare(connection: Connection) -> None:
    """Fill a temporary table with the names and addresses of the given district."""
    connection.exec_driver_sql("CREATE TEMP TABLE peer (name text, lng float8, lat float8)")
    rows = [
        {"name": one.name or f"{one.road}{one.house_no}号", "lng": one.lng, "lat": one.lat} for one in nanhai.entries()
    ]
    rows += [
        {"name": f"{one.road}{one.house_no}号", "lng": one.lng, "lat": one.lat}
        for one in nanhai.entries()
        if one.road and one.name
    ]
    connection.execute(text("INSERT INTO peer VALUES (:name, :lng, :lat)"), rows)
    connection.exec_driver_sql("CREATE INDEX ON peer USING gin (name gin_trgm_ops)")
    connection.exec_driver_sql("SET pg_trgm.word_similarity_threshold = 0.5")
    connection.exec_driver_sql("ANALYZE peer")


def compare(connection: Connection, count: int) -> None:
    """Print, for each kind of text, the share within 300 m and the texts a second of both."""
    geocoder, asker = Geocoder(nanhai.gazetteer()), Asker("figure")

    def ours(said: str) -> LngLat | None:
        matches = geocoder.locate(said).matches
        return (matches[0].lng, matches[0].lat) if matches else None

    def peer(said: str) -> LngLat | None:
        row = connection.execute(_ASK, {"said": said}).one_or_none()
        return (row[0], row[1]) if row else None

    for kind in ("telling", "damaged", "two_places", "nowhere"):
        questions = list(getattr(asker, kind)(count))
        for who, answer in (("ours", ours), ("pg_trgm", peer)):
            _report(kind, who, answer, questions)


def _report(kind: str, who: str, answer: Callable[[str], LngLat | None], questions: list) -> None:
    started, right, given = time.perf_counter(), 0, 0
    for one in questions:
        spot = answer(one.text)
        given += spot is not None
        right += spot is None if one.at is None else spot is not None and apart(spot, one.at) <= 300
    rate = len(questions) / (time.perf_counter() - started)
    print(
        f"{kind:11} {who:8} right {right / len(questions):.3f}  answered {given / len(questions):.3f}  {rate:,.0f} texts/s"
    )


if __name__ == "__main__":
    with make_engine(settings().database_url, pool_size=1).connect() as found:
        prepare(found)
        compare(found, _COUNT if "--quick" not in sys.argv else 30)
