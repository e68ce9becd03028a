"""Files of materials: PDF and pictures are kept, anything else, anything too large and anything that runs is not."""

import io

import pytest
from PIL import Image

from api import uploads
from api.errors import TooLarge, Unprovable

pytestmark = pytest.mark.web

PDF = b"%PDF-1.4\n1 0 obj <</Type /Catalog>> endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n"


@pytest.fixture(autouse=True)
def _store(database: str) -> None:
    """Keep bytes in the folder of this run."""


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(out, "PNG")
    return out.getvalue()


def test_a_pdf_is_kept_byte_for_byte() -> None:
    kept = uploads.keep(PDF, "C:\\fakepath\\身份证.pdf")
    assert (kept.media_type, kept.size, kept.name) == ("application/pdf", len(PDF), "身份证.pdf")
    assert uploads.read(kept) == PDF


def test_a_picture_is_re_encoded() -> None:
    kept = uploads.keep(_picture(), "照片.png")
    assert kept.media_type == "image/jpeg"
    assert uploads.read(kept).startswith(b"\xff\xd8")


def test_fifty_megabytes_are_refused_without_a_look() -> None:
    with pytest.raises(TooLarge):
        uploads.keep(PDF + b"\0" * 50 * 2**20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MZ\x90\x00",
        b"PK\x03\x04word/document.xml",
        b"<html><script>alert(1)</script></html>",
        "身份证".encode(),
        PDF[:-6],
        PDF.replace(b"/Catalog", b"/Catalog /OpenAction <</S /JavaScript /JS (app.alert(1))>>"),
        PDF.replace(b"/Catalog", b"/Catalog /AA <</S /Launch>>"),
    ],
)
def test_other_files_and_pdf_that_run_programs_are_refused(data: bytes) -> None:
    with pytest.raises(Unprovable):
        uploads.keep(data)


def test_a_name_loses_its_folders_and_what_cannot_be_read() -> None:
    assert uploads.plain_name("../../etc/pass\x00wd\u202e.pdf") == "passwd.pdf"
    assert len(uploads.plain_name("长" * 500)) == 120
