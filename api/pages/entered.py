"""What a page's form holds: texts by name, lists of texts, and uploaded files. Checks nothing."""

from typing import Annotated

from fastapi import Depends
from starlette.datastructures import UploadFile
from starlette.requests import Request

from api.security import PHOTO_LIMIT

#: Values of one name, and files of one form; more is nobody's form.
_MOST, _MOST_FILES = 200, 20


class Entered(dict[str, str]):
    """The texts of a form, the last of a name; all of a name in `lists`, files in `files`."""

    def __init__(self, texts: dict[str, str] | None = None) -> None:
        super().__init__(texts or {})
        self.lists: dict[str, list[str]] = {}
        self.files: dict[str, list[bytes]] = {}

    @property
    def plain(self) -> dict[str, str]:
        """The texts alone, spans put together: `span_n` 5 and `span_u` wd are also `span` 5wd."""
        made = dict(self)
        for name, amount in self.items():
            unit = self.get(f"{name[:-2]}_u", "")
            if name.endswith("_n") and unit and amount.strip():
                made[name[:-2]] = f"{amount.strip()}{unit}"
        return made


async def _entered(request: Request) -> Entered:
    """Return the fields of the form, or of the address where nothing was posted.

    Async because reading a form is. Files are read up to one byte over what a photo may have.
    """
    given = (await request.form()) if request.method == "POST" else request.query_params
    made = Entered()
    for name, value in given.multi_items():
        if isinstance(value, str):
            made[name] = value
            values = made.lists.setdefault(name, [])
            if len(values) < _MOST:
                values.append(value)
        elif isinstance(value, UploadFile) and value.filename and len(made.files) < _MOST_FILES:
            made.files.setdefault(name, []).append(await value.read(PHOTO_LIMIT + 1))
        if isinstance(value, UploadFile):
            # Nobody else does: the form was read by hand.
            await value.close()
    return made


#: What a page's form holds; endpoints name it as the type of a parameter.
Form = Annotated[Entered, Depends(_entered)]
