"""Manifests as they are written, made by other means: JSON that begins with its own CRC-32C."""

from __future__ import annotations

import json
import re
from typing import Any

import google_crc32c


def checked(text: str) -> bytes:
    """Put the right checksum in front of a JSON object, which need not make sense otherwise."""
    rest = re.sub(r'^\{("crc32c": "[0-9a-f]*", )?', "", text).encode()
    number: bytes = google_crc32c.Checksum(rest).hexdigest()
    return b'{"crc32c": "' + number + b'", ' + rest


def manifest(document: dict[str, Any]) -> bytes:
    """Return a manifest that says what a document says."""
    return checked(json.dumps({key: value for key, value in document.items() if key != "crc32c"}))
