"""Cache folders that others wrote into: what they left there is no entry, and nothing waits for it."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from manifests import checked
from pictures import save_png
from subregion import SimpleFrames, SubregionError
from subregion.errors import CacheError, ConfigError, IdentityError
from subregion.io.pool import POOL

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def source(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    path = tmp_path / "a.png"
    save_png(path, photograph)
    return path


def manifest_of(workdir: Path) -> Path:
    (manifest,) = workdir.glob("_cache/frames/??/*.json")
    return manifest


def read_anew(frames: SimpleFrames) -> NDArray[Any]:
    POOL.forget(lambda key: True)
    return frames.load_region(1)


HUGE = "1" + "0" * 400
#: What to write into a manifest in place of the value under a key.
STRANGE: list[tuple[str, str]] = [
    (key, text)
    for key, texts in {
        "size": ["Infinity", "NaN", HUGE, "-1", "1.5", "true", "null", '"7"', "[]", "{}", "1e400"],
        "signature": [
            *(
                "7",
                '"ab"',
                "[1]",
                "[1, 2, 3]",
                "[1, 2]",
                "[Infinity, 1, null, null]",
                "[true, 1, null, null]",
            ),
            *(
                "[[], {}, null, null]",
                '["1", "2", null, null]',
                "[1, 2, 3, 4]",
                "{}",
                f"[{HUGE}, 1, null, null]",
            ),
        ],
        "data": ["7", "null", '"../../x"', '"/etc/passwd"', '[""]', '"\\u0000"', '"\\ud800"'],
        "files": ["7", "[]", "{}", '{"a": Infinity}', '{"..": 1}', '{"a/../b": 1}', '{"": 1}'],
        "sums": ["7", "null", "[]", "[1]", "[1, 2]", f"[{HUGE}, {HUGE}]", '"ab"', "[1.5, 2]", "[true, 1]"],
        "nodata": ['"a"', "[]", HUGE, "{}", "true"],
        "tags": [
            *("7", "[7]", "[[1, 2, 3]]", '[[1, 2, 3, "A"]]', '[[33550, 12, 3, "AAAA"]]', '{"a": 1}'),
            *('[[33550, 99, 0, ""]]', f'[[33550, 12, {HUGE}, ""]]', "null", '"x"'),
            *('[[33550.0, 12, 0, ""]]', '[[[], 12, 0, ""]]', "[[33550, 12, 0, 5]]"),
        ],
    }.items()
    for text in texts
]


@pytest.mark.parametrize(("key", "text"), STRANGE)
@pytest.mark.parametrize("backend", ["npy", "zarr"])
def test_strange_values_in_a_manifest(
    backend: str, key: str, text: str, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir, backend)
    frames.prepare()
    manifest = manifest_of(workdir)
    document = json.loads(manifest.read_text())
    entry = document["data"]
    del document["crc32c"]
    parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document.items() if name != key]
    manifest.write_bytes(checked("{" + ", ".join([*parts, f"{json.dumps(key)}: {text}"]) + "}"))
    np.testing.assert_array_equal(read_anew(frames), photograph)
    frames.prepare(use_stamp=False)
    assert json.loads(manifest.read_text())["data"] != entry
    assert len(list(workdir.glob("_cache/frames/??/*"))) == 3
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"data":' * 50_000,
        b"{" * 1_000_000 + b"}" * 1_000_000,
        b"\xff\xfe\x00",
        b"\x80abc",
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"Infinity",
        b"9" * 10_000,
        b"{}",
        b"\0" * 4096,
        b" " * (2 << 20),
    ],
)
def test_what_is_no_manifest_is_no_entry(
    content: bytes, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir, "cog")
    frames.prepare()
    manifest_of(workdir).write_bytes(content)
    np.testing.assert_array_equal(read_anew(frames), photograph)
    frames.prepare()
    assert json.loads(manifest_of(workdir).read_text())["size"]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
        Path("s").rename(path.name)
    finally:
        os.chdir(here)


def make_folder(path: Path) -> None:
    (path / "inner").mkdir(parents=True)
    (path / "inner/file").write_text("x")


def make_ring(path: Path) -> None:
    path.symlink_to(path.name)


def make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def make_terminal(path: Path) -> None:
    path.symlink_to("/dev/zero")


STRANGERS = [make_pipe, make_socket, make_folder, make_ring, make_link, make_dangling, make_terminal]


def put(make: Any, path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name("gone"))
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("make", STRANGERS)
@pytest.mark.parametrize("what", ["manifest", "data", "shard", "lock", "stamp"])
@pytest.mark.parametrize("backend", ["npy", "zarr"])
def test_pipes_links_and_folders_where_files_should_be(
    backend: str, what: str, make: Any, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    frames = SimpleFrames({1: source}, workdir, backend)
    frames.prepare()
    manifest = manifest_of(workdir)
    data = manifest.with_name(json.loads(manifest.read_text())["data"])
    places = {
        "manifest": manifest,
        "data": data,
        "shard": data / "0/c/0/0/0" if backend == "zarr" else data,
        "lock": workdir / "_cache/frames/locks" / f"{manifest.stem}.lock",
        "stamp": next((workdir / "_cache/frames/stamps").iterdir()),
    }
    if what == "lock":
        manifest.unlink()
    put(make, places[what])
    np.testing.assert_array_equal(read_anew(frames), photograph)
    frames.prepare()
    POOL.forget(lambda key: True)
    frames.prepare(use_stamp=False)
    np.testing.assert_array_equal(read_anew(frames), photograph)
    assert json.loads(manifest_of(workdir).read_text())["size"]


@pytest.mark.parametrize(
    "folder", ["_cache", "_cache/frames", "_cache/frames/unfinished", "_cache/frames/locks"]
)
@pytest.mark.parametrize("make", [make_pipe, make_ring, make_dangling])
def test_a_folder_of_the_cache_that_is_none_is_one_error(
    make: Any, folder: str, source: Path, workdir: Path
) -> None:
    put(make, workdir / folder)
    frames = SimpleFrames({1: source}, workdir, "cog")
    with pytest.raises(CacheError, match="workdir"):
        frames.load_region(1)


def test_a_path_that_is_too_long_is_one_error(source: Path, tmp_path: Path) -> None:
    frames = SimpleFrames({1: source}, tmp_path / ("x" * 300), "cog")
    with pytest.raises(CacheError, match="shorter path"):
        frames.load_region(1)


@pytest.mark.parametrize("workdir", [b"a\0b", "a\0b", 7, ["x"], object()])
def test_what_is_no_path_is_no_workdir(workdir: Any, source: Path) -> None:
    with pytest.raises(ConfigError, match="workdir"):
        SimpleFrames({1: source}, workdir, "cog")


@pytest.mark.parametrize("name", [".aux.xml", ".wld", ".pngw"])
@pytest.mark.parametrize("make", STRANGERS)
def test_sidecars_that_are_no_files(make: Any, name: str, source: Path) -> None:
    make(source.with_name(f"a.png{name}" if name != ".pngw" else "a.pngw"))
    with pytest.raises(SubregionError):
        SimpleFrames({1: source}).georeference(1)


def test_a_source_that_became_a_pipe(source: Path, workdir: Path) -> None:
    for backend in (None, "cog", "auto"):
        for mode in ("PATH", "PIXELS"):
            frames = SimpleFrames({1: source}, workdir, backend, mode)
            frames.load_region(1)
            data = source.read_bytes()
            put(make_pipe, source)
            with pytest.raises(SubregionError, match=r"a\.png"):
                frames.load_region(1)
            source.unlink()
            source.write_bytes(data)
            assert frames.load_region(1).shape == (400, 600, 3)


ODD_HASHES = [
    "../../x",
    "/etc/passwd",
    "a\0b",
    "C:\\x",
    ".",
    "..",
    " ",
    "\ud800",
    "ü" * 500,
    "x" * 1000,
    "\n",
    "json",
]


@pytest.mark.parametrize("value", ODD_HASHES)
def test_hashes_that_are_given_may_be_any_text(
    value: str, source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    def collect() -> SimpleFrames:
        return SimpleFrames({1: source}, workdir, "cog", "GIVEN", id_to_hashid={1: value})

    collect().prepare()
    kept = source.rename(source.with_name("b.png"))
    np.testing.assert_array_equal(read_anew(collect()), photograph)  # from the copy
    assert {place.name for place in source.parent.iterdir()} == {kept.name, workdir.name}
    for place in (workdir / "_cache/frames").rglob("*"):
        assert place.suffix in ("", ".json", ".tif", ".sums")


@pytest.mark.parametrize("value", ["x" * 1001, "", b"x", 5, 5.0, ["x"], {"a": 1}, np.zeros(3), ("a",), True])
def test_what_is_no_hash_is_one_error(value: Any, source: Path, workdir: Path) -> None:
    frames = SimpleFrames({1: source}, workdir, "cog", "GIVEN", id_to_hashid={1: value})
    with pytest.raises(IdentityError, match="hash"):
        frames.load_region(1)
    assert not workdir.exists()


def test_hashes_come_in_a_mapping(source: Path, workdir: Path) -> None:
    with pytest.raises(ConfigError, match="id_to_hashid"):
        SimpleFrames({1: source}, workdir, "cog", "GIVEN", id_to_hashid=["x"])  # type: ignore[arg-type]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
STRANGE_LISTINGS = {
    "aliases": f"{BOMB}outs:\n- md5: *j\n  path: a.png\n",
    "an alias": "x: &x abc\nouts:\n- md5: *x\n  path: a.png\n",
    "a date as hash": "outs:\n- md5: 2024-13-45\n  path: b.png\n",
    "a huge number": f"outs:\n- md5: {'9' * 5000}\n  path: a.png\n",
    "deep": "outs: " + "[" * 5000 + "]" * 5000,
    "deep and open": "{" * 100_000,
    "deep by indentation": "".join(" " * depth + "a:\n" for depth in range(1000)),
    "many": "outs:\n" + "- a\n" * 260_000,
    "large": "outs:\n- path: a.png\n  md5: " + "a" * (2 << 20),
    "a list as hash": "outs:\n- md5: [a, b]\n  path: a.png\n",
    "no outs": "deps: []\n",
    "outs is text": "outs: text\n",
    "outs is empty": "outs:\n",
    "outs of text": "outs: [a, b]\n",
    "no path": "outs:\n- md5: abc\n",
    "a list as path": "outs:\n- md5: abc\n  path: [a.png]\n",
    "a number": "7",
    "nothing": "",
    "a tag": "outs: !!python/object/apply:os.system ['touch pwned']\n",
    "a key that is a list": "? [a, b]\n: c\n",
    "tabs": "outs:\n\t- md5: abc\n",
    "not closed": "outs: [",
    "an anchor alone": "&a",
}


@pytest.mark.parametrize("text", STRANGE_LISTINGS.values(), ids=STRANGE_LISTINGS)
@pytest.mark.timeout(20)
def test_strange_files_of_dvc_are_one_error(text: str, source: Path, workdir: Path) -> None:
    source.with_name("a.png.dvc").write_text(text)
    frames = SimpleFrames({1: source}, workdir, "cog", "DVC")
    begin = time.monotonic()
    with pytest.raises(IdentityError, match=r"a\.png\.dvc") as caught:
        frames.load_region(1)
    assert time.monotonic() - begin < 10
    assert len(str(caught.value)) < 1000
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\xff", b"outs:\n- md5: \x80\n", b"\0\1\2", b"\xef\xbb\xbf\x01"]
)
def test_files_of_dvc_that_are_no_text(content: bytes, source: Path, workdir: Path) -> None:
    source.with_name("a.png.dvc").write_bytes(content)
    with pytest.raises(IdentityError, match=r"a\.png"):
        SimpleFrames({1: source}, workdir, "cog", "DVC").load_region(1)


def test_dates_and_numbers_in_files_of_dvc_are_text(source: Path, workdir: Path) -> None:
    listing = source.with_name("a.png.dvc")
    size = source.stat().st_size
    for value in ("2024-01-01", "12345678901234567890123456789012", "1e5", "0x10", "true", "'007'"):
        listing.write_text(f"frozen: 2024-99-99\nouts:\n- md5: {value}\n  size: {size}\n  path: a.png\n")
        frames = SimpleFrames({1: source}, workdir, "npy", "DVC")
        assert read_anew(frames).shape == (400, 600, 3)
    assert len(list(workdir.glob("_cache/frames/??/*.npy"))) == 6


@pytest.mark.parametrize("make", STRANGERS)
def test_files_of_dvc_that_are_no_files(make: Any, source: Path, workdir: Path) -> None:
    make(source.with_name("a.png.dvc"))
    with pytest.raises(IdentityError, match=r"a\.png"):
        SimpleFrames({1: source}, workdir, "cog", "DVC").load_region(1)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"7",
        b"[7]",
        b'[{"relpath": 5, "md5": "a"}]',
        b"\xff",
        b'{"a": 1}',
        b"[Infinity]",
        b'[{"relpath": "a.png", "md5": [1]}]',
        b'[{"relpath": "a.png"}]',
    ],
)
def test_strange_lists_of_folders_of_dvc(content: bytes, source: Path, workdir: Path) -> None:
    root = source.parent
    (root / "data").mkdir()
    source.rename(root / "data/a.png")
    members = root / ".dvc/cache/files/md5/aa/11.dir"
    members.parent.mkdir(parents=True)
    members.write_bytes(content)
    (root / "data.dvc").write_text("outs:\n- md5: aa11.dir\n  path: data\n")
    with pytest.raises(IdentityError, match=r"11\.dir"):
        SimpleFrames({1: root / "data/a.png"}, workdir, "cog", "DVC").load_region(1)


def test_a_hash_of_dvc_leads_to_no_other_file(
    source: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    root = source.parent
    (root / "data").mkdir()
    source.rename(root / "data/a.png")
    (root / ".dvc/cache").mkdir(parents=True)
    (root / "secret.dir").write_text('[{"relpath": "other", "md5": "x"}]')
    (root / "data.dvc").write_text("outs:\n- md5: ../../../../secret.dir\n  path: data\n")
    frames = SimpleFrames({1: root / "data/a.png"}, workdir, "cog", "DVC")
    np.testing.assert_array_equal(frames.load_region(1), photograph)


def test_long_names_beside_files_of_dvc(tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]) -> None:
    path = tmp_path / ("x" * 250 + ".tif")
    tifffile.imwrite(path, photograph)
    with pytest.raises(IdentityError, match="dvc add"):
        SimpleFrames({1: path}, workdir, "cog", "DVC").load_region(1)


def test_tags_in_a_manifest_are_given_to_the_copy(
    tmp_path: Path, workdir: Path, photograph: NDArray[np.uint8]
) -> None:
    path = tmp_path / "a.tif"
    scale = (33550, "d", 3, (2.0, 3.0, 0.0), True)
    tie = (33922, "d", 6, (0.0, 0.0, 0.0, 100.0, 200.0, 0.0), True)
    tifffile.imwrite(path, photograph, extratags=[scale, tie], compression="zlib", rowsperstrip=400)
    frames = SimpleFrames({1: path}, workdir, "npy")
    frames.prepare()
    document = json.loads(manifest_of(workdir).read_text())
    assert {tag[0] for tag in document["tags"]} == {33550, 33922}
    assert all(base64.b64decode(tag[3]) for tag in document["tags"])
    entry = document["data"]
    read_anew(frames)
    assert json.loads(manifest_of(workdir).read_text())["data"] == entry
    path.unlink()
