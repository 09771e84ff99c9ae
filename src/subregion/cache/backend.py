"""How an image is stored: the backend that the user asks for, checked and in one canonical form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from subregion.convert.encodings import BLOCKSIZE, LARGER_BLOCKSIZE
from subregion.errors import ConfigError

Backend: TypeAlias = "str | Mapping[str, Any] | None"

#: Raised whenever the bytes that a converter writes change, so that older entries are made anew.
FORMAT_VERSION = 3

BACKENDS = ("auto", "npy", "cog", "zarr", "jpeg")


@dataclass(frozen=True, slots=True)
class _Option:
    default: Any
    allowed: str
    accept: Callable[[Any], Any]


def _one_of(*names: str) -> Callable[[Any], Any]:
    def accept(value: Any) -> Any:
        for name in names:
            if isinstance(value, str) and value.lower() == name.lower():
                return name
        raise ValueError

    return accept


def _whole_number(low: int, high: int, multiple: int = 1) -> Callable[[Any], Any]:
    def accept(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        if not low <= value <= high or value % multiple:
            raise ValueError
        return value

    return accept


def _automatic_or(accept: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: "auto" if value == "auto" else accept(value)


_QUALITY = _Option(90, "a whole number from 1 to 100", _whole_number(1, 100))
_BLOCKSIZE = _Option(
    "auto", "auto, or a multiple of 16 from 16 to 4096", _automatic_or(_whole_number(16, 4096, 16))
)
_COMPRESS = ("auto", "ZSTD", "DEFLATE", "LZW", "JPEG", "RAW")
_ZARR_COMPRESS = ("auto", "LZ4", "ZSTD", "RAW")
_OVERVIEWS = ("average", "nearest", "mode", "none")
_OPTIONS: dict[str, dict[str, _Option]] = {
    "npy": {},
    "cog": {
        "compress": _Option("auto", ", ".join(_COMPRESS), _one_of(*_COMPRESS)),
        "blocksize": _BLOCKSIZE,
        "quality": _QUALITY,
        "overviews": _Option("average", ", ".join(_OVERVIEWS), _one_of(*_OVERVIEWS)),
    },
    "zarr": {
        "compress": _Option("auto", ", ".join(_ZARR_COMPRESS), _one_of(*_ZARR_COMPRESS)),
        "blocksize": _BLOCKSIZE,
        "overviews": _Option("average", ", ".join(_OVERVIEWS), _one_of(*_OVERVIEWS)),
    },
    "jpeg": {
        "quality": _QUALITY,
        "interval": _Option(
            "auto", "auto, or a whole number from 1 to 8192", _automatic_or(_whole_number(1, 8192))
        ),
    },
}
#: What `compress="auto"` is: lossless, and the fastest to decode of those that others read everywhere.
_AUTO_COMPRESS = {"cog": "ZSTD", "zarr": "LZ4"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to store an image.

    Parameters
    ----------
    kind : str
        ``"none"`` (read the source as it is), ``"auto"``, ``"npy"``, ``"cog"``,
        ``"zarr"`` or ``"jpeg"``.
    config : tuple of (str, value)
        Every option of that kind with its value, sorted; empty for ``"none"`` and ``"auto"``.
    """

    kind: str
    config: tuple[tuple[str, Any], ...] = field(default=())

    @property
    def options(self) -> dict[str, Any]:
        """The options as a dict."""
        return dict(self.config)

    @property
    def forms(self) -> tuple[Recipe, ...]:
        """The recipes by which entries are made, of which the source decides: JPEGs stay what they are.

        Where there are two, the first is for JPEGs and changes no pixel of them.
        """
        if self.kind == "auto":
            return KEPT_JPEG, LOSSLESS
        if self.kind == "jpeg":
            kept = tuple(item for item in self.config if item[0] != "quality")
            return Recipe(self.kind, kept), self
        return (self,)

    @property
    def document(self) -> dict[str, Any]:
        """What goes into the name of an entry."""
        return {"kind": self.kind, "config": self.options, "version": FORMAT_VERSION}


def parse_backend(backend: Backend) -> Recipe:
    """Check what the user wrote for `backend`.

    Parameters
    ----------
    backend : None, str or dict
        A name, or ``{"type": name, "config": {...}}``.

    Returns
    -------
    Recipe
        With every option filled in.

    Raises
    ------
    ConfigError
        Naming the key, the value and what is allowed.
    """
    if backend is None:
        return Recipe("none")
    if isinstance(backend, str):
        backend = {"type": backend}
    if not isinstance(backend, Mapping):
        raise ConfigError(f"backend={backend!r}: must be None, one of {_listed(BACKENDS)}, or a dict.")
    unknown = set(backend) - {"type", "config"}
    if unknown:
        raise ConfigError(f"backend: unknown key {_listed(unknown)}; allowed are 'config', 'type'.")
    kind = backend.get("type")
    if kind is None:
        if backend.get("config"):
            raise ConfigError("backend: a config needs a 'type'.")
        return Recipe("none")
    if kind not in BACKENDS:
        raise ConfigError(f"backend: unknown type {kind!r}; allowed are None, {_listed(BACKENDS)}.")
    config = backend.get("config") or {}
    if not isinstance(config, Mapping):
        raise ConfigError(f"backend: config={config!r} must be a dict.")
    return Recipe(kind, _check_config(kind, config))


def _check_config(kind: str, config: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    options = _OPTIONS.get(kind, {})
    unknown = set(config) - set(options)
    if unknown:
        allowed = f"allowed are {_listed(options)}" if options else "it has no options"
        raise ConfigError(f"backend {kind!r}: unknown key {_listed(unknown)}; {allowed}.")
    values = {}
    for name, option in options.items():
        value = config.get(name, option.default)
        try:
            values[name] = option.accept(value)
        except ValueError:
            raise ConfigError(f"backend {kind!r}: {name}={value!r}; allowed: {option.allowed}.") from None
    if values.get("compress") == "auto":
        values["compress"] = _AUTO_COMPRESS[kind]
    if values.get("blocksize") == "auto":
        small = kind == "cog" and values["compress"] != "JPEG"
        values["blocksize"] = BLOCKSIZE if small else LARGER_BLOCKSIZE
    if values.get("compress", "JPEG") != "JPEG":
        values.pop("quality", None)  # it changes nothing, so it must not make another entry
    return tuple(sorted(values.items()))


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in sorted(names, key=str))


#: What `auto` stores where the source cannot be read by window.
LOSSLESS = parse_backend("cog")
#: What `auto` stores of a JPEG.
KEPT_JPEG = parse_backend("jpeg").forms[0]
