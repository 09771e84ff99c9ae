"""XML that strangers wrote, parsed without what makes little of it large."""

from __future__ import annotations

import codecs
import re
from xml.etree import ElementTree

#: Marks of the encodings that such files have, besides UTF-8.
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: What stands in front, and names an encoding.
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*>")


def parse_markup(data: bytes) -> ElementTree.Element:
    """Parse XML of any encoding that GDAL and others write; what it says of that is not believed.

    Parameters
    ----------
    data : bytes
        Of a size that is known to be sane.

    Raises
    ------
    ValueError
        If it is no XML, or defines entities, of which some bytes can make gigabytes.
    """
    try:
        text = data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it declares entities")
    try:
        return ElementTree.fromstring(_DECLARATION.sub("", text, 1))  # noqa: S314 - without entities
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
