"""Drawn photos of the demo 演示图片: a street before and after, each labelled as invented in the picture.

Nothing is photographed: a few shapes, drawn from dice, so that cases do not all show the same.
"""

import io
import random
from collections.abc import Callable, Mapping
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from api.photos import Photo, read_photo, store

_SIZE: Final = (960, 640)
#: Where the pavement begins.
_GROUND: Final = 400
_SKIES: Final = ("#cfe3f2", "#d9dfe6", "#f1e3cf")
_WALLS: Final = ("#c9b8a3", "#b7c0c7", "#d5c7c0", "#a9b7a4")
Pen = ImageDraw.ImageDraw


def trouble_of(text: str) -> str:
    """Return which trouble a text is about that can be drawn; empty for none."""
    return next((name for name, words in _ABOUT.items() if any(word in text for word in words)), "")


def taken(purpose: str, trouble: str, chance: random.Random) -> Photo:
    """Return a drawn photo, kept in the store as any other: `before` with the trouble, `after` without.

    The same `chance` draws the same street.
    """
    picture = Image.new("RGB", _SIZE, chance.choice(_SKIES))
    pen = ImageDraw.Draw(picture)
    _street(pen, chance)
    if purpose == "before":
        _TROUBLES[trouble](pen, chance)
    _label(pen, purpose)
    out = io.BytesIO()
    picture.save(out, "PNG")
    photo = read_photo(out.getvalue())
    store().put(photo.sha256, photo.data)
    return photo


def _street(pen: Pen, chance: random.Random) -> None:
    left = 0
    while left < _SIZE[0]:
        width = chance.randint(140, 260)
        top = chance.randint(80, 220)
        pen.rectangle((left, top, left + width, _GROUND), fill=chance.choice(_WALLS), outline="#6f6a63", width=2)
        for x in range(left + 24, left + width - 40, 56):
            for y in range(top + 24, _GROUND - 70, 70):
                pen.rectangle((x, y, x + 30, y + 40), fill="#8fa6b5", outline="#6f6a63")
        left += width
    pen.rectangle((0, _GROUND, *_SIZE), fill="#9a9894")
    pen.rectangle((0, _GROUND, _SIZE[0], _GROUND + 70), fill="#bdb7ac")
    for x in range(0, _SIZE[0], 60):
        pen.line((x, _GROUND, x - 20, _GROUND + 70), fill="#a49e93", width=2)
    for x in range(40, _SIZE[0], 160):
        pen.rectangle((x, 560, x + 80, 568), fill="#e7e3d6")


def _heap(pen: Pen, chance: random.Random) -> None:
    """Put rubbish on the pavement."""
    at = chance.randint(200, 650)
    for _ in range(26):
        x, y, r = at + chance.randint(-110, 110), _GROUND + chance.randint(0, 60), chance.randint(12, 34)
        colour = chance.choice(("#3d4a3a", "#5a4636", "#7d6a55", "#2f3338", "#a8a39a"))
        pen.ellipse((x - r, y - r, x + r, y + r // 2), fill=colour)


def _hole(pen: Pen, chance: random.Random) -> None:
    """Leave a hole where a cover was."""
    x = chance.randint(220, 640)
    pen.ellipse((x, 470, x + 150, 530), fill="#6d6a66")
    pen.ellipse((x + 12, 478, x + 138, 522), fill="#16181a")


def _stalls(pen: Pen, chance: random.Random) -> None:
    """Put stalls all over the pavement."""
    for x in range(chance.randint(80, 160), 780, 200):
        pen.polygon(((x, 330), (x + 150, 330), (x + 130, 290), (x + 20, 290)), fill="#b5533c")
        pen.rectangle((x + 10, 380, x + 140, 450), fill="#8a6f4d", outline="#4f4030", width=3)
        pen.line((x + 12, 330, x + 12, 450), fill="#4f4030", width=4)
        pen.line((x + 138, 330, x + 138, 450), fill="#4f4030", width=4)


def _water(pen: Pen, chance: random.Random) -> None:
    """Put water on the road."""
    x = chance.randint(120, 480)
    pen.ellipse((x, 470, x + 380, 600), fill="#6f7f6a")
    pen.ellipse((x + 60, 490, x + 300, 570), fill="#7f8f79")


_TROUBLES: Final[Mapping[str, Callable[[Pen, random.Random], None]]] = {
    "heap": _heap,
    "hole": _hole,
    "stalls": _stalls,
    "water": _water,
}
#: Words of a text that tell what is to be seen there, the first that fit.
_ABOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "heap": ("垃圾", "废料", "杂物", "家具"),
    "hole": ("井盖", "篦子", "地砖", "盲道"),
    "stalls": ("摊", "早餐档", "水果档", "占用人行道"),
    "water": ("污水", "河涌", "水井", "排水"),
}


def _label(pen: Pen, purpose: str) -> None:
    """Say in the picture that it is a drawing: it is looked at without the case beside it."""
    pen.rectangle((0, 0, _SIZE[0], 44), fill="#22313f")
    pen.text(
        (16, 9), f"DEMO  INVENTED DRAWING  {purpose.upper()}", fill="#ffffff", font=ImageFont.load_default(size=24)
    )
