"""Where an image file says that it lies: in its tags, or in a file beside it."""

from __future__ import annotations

from collections.abc import Sequence

from affine import Affine

from subregion.errors import DamagedFileError, NotGeoreferencedError, RecordError
from subregion.geo.crs import crs_of
from subregion.geo.geotags import FileTag, GeoTags
from subregion.geo.sidecars import Pam, read_pam, read_world
from subregion.geometry.georeference import Georeference

_IDENTITY = Affine.identity()


def georeference_of(
    path: str, tags: Sequence[FileTag], with_crs: bool = True, from_full: Affine | None = _IDENTITY
) -> Georeference:
    """Find out where an image lies on the ground.

    What GDAL noted beside the file (``.aux.xml``) comes first, then the GeoTIFF tags, then a world file: the
    order of GDAL.

    Parameters
    ----------
    path : str
        The image file.
    tags : sequence of FileTag
        Its tags.
    with_crs : bool
        Whether the coordinate reference system is wanted; the transform alone never needs pyproj.
    from_full : affine.Affine or None
        From pixels of the full resolution of the file, of which what lies beside it tells, to those that the
        tags tell of; None if that is not known, so that only the tags tell.

    Returns
    -------
    Georeference

    Raises
    ------
    NotGeoreferencedError
        If nothing tells, naming what was looked at.
    SubregionError
        If what tells is damaged.
    """
    pam, geo = None if from_full is None else read_pam(path), GeoTags.of(tags)

    def crs(beside: str | None = None) -> str | None:
        if pam is not None and pam.crs is not None:
            return pam.crs
        return (crs_of(geo, path) if with_crs else None) or beside

    if from_full is not None and pam is not None and pam.to_world is not None:
        return Georeference(pam.to_world, crs()).of_part(from_full)
    try:
        to_world = geo.to_world(path)
    except NotGeoreferencedError as error:
        if from_full is None:
            raise NotGeoreferencedError(
                f"{path}: is not there, and its copy does not say where the chosen level lies; what lies "
                f"beside it tells of the full resolution only."
            ) from error
        world = read_world(path)
        if world is None:
            raise _nowhere(path, geo, pam, error) from None
        return Georeference(world.to_world, crs(world.crs)).of_part(from_full)
    try:
        return Georeference(to_world, crs())
    except RecordError as error:
        raise DamagedFileError(f"{path}: {error}") from error


def _nowhere(
    path: str, geo: GeoTags, pam: Pam | None, reason: NotGeoreferencedError
) -> NotGeoreferencedError:
    """Say all that was looked for, where there was nothing; otherwise what the file has instead."""
    if pam is not None and pam.points:
        return NotGeoreferencedError(
            f"{pam.path}: lists {pam.points} ground control points and no affine to the ground. "
            f"Warp the image first, for example with gdalwarp."
        )
    if geo.keys or geo.tiepoints:
        return reason
    return NotGeoreferencedError(
        f"{path}: does not say where it lies on the ground: it has no GeoTIFF tags, no {path}.aux.xml "
        f"with a GeoTransform, and no world file beside it."
    )
