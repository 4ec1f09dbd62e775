"""A photograph as a source that knows its place, where it says enough of its camera."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from calanddet.runtime.camera import CameraGeoreference, CameraOptions
from calanddet.runtime.camera.georeference import CELL_PX
from calanddet.runtime.frames.placing import Placer, UnplacedError
from calanddet.runtime.gsd import ground_size
from calanddet.runtime.sources.pieces import Input
from calanddet.runtime.sources.protocol import Source, SourceInfo
from calanddet.runtime.telemetry import read_photo
from calanddet.runtime.telemetry.photo import UPRIGHT
from calanddet.runtime.types import Bool, Pixels, Window

__all__ = ["PhotoSource", "ground_mask", "placed"]

_SUFFIXES = frozenset((".jpg", ".jpeg", ".tif", ".tiff", ".png", ".webp", ".dng"))


class PhotoSource:
    """A picture with the ground under its pixels; those that show none, as the sky, are not valid."""

    def __init__(self, source: Source, georeference: CameraGeoreference, info: SourceInfo) -> None:
        self._source, self.info, self.georeference = source, info, georeference
        self._shows = georeference.shows_ground()

    def read(self, window: Window) -> Pixels:
        """See Source.read."""
        return self._grounded(self._source.read(window), window)

    def thumbnail(self, longest: int) -> Pixels:
        """See Source.thumbnail; it shows the sky, too."""
        return self._source.thumbnail(longest)

    def close(self) -> None:
        """See Source.close."""
        self._source.close()

    def _grounded(self, pixels: Pixels, window: Window) -> Pixels:
        if self._shows.all():
            return pixels
        valid = pixels.valid & ground_mask(self._shows, window)
        return Pixels(pixels.rgb * valid[..., None], valid)


def placed(source: Source, path: Input, options: CameraOptions) -> Source:
    """`source` with its place by the camera, or as it is where it has one already, or tells no position.

    What is missing is a note. Raises InputError where the elevation model does not cover the picture.
    """
    info = source.info
    located = info.georeference.crs is not None or info.georeference.gcps or not info.georeference.transform.is_identity
    if located or not isinstance(path, Path) or path.suffix.lower() not in _SUFFIXES:
        return source
    facts = read_photo(path)
    if facts.reading is None:
        return source
    with Placer(options) as placer:
        try:
            if facts.orientation != UPRIGHT:
                raise UnplacedError("its pixels are stored turned (EXIF orientation): turn them upright")
            georeference = placer.place(facts.reading, info.shape, focal_px=facts.focal_px)
        except UnplacedError as error:
            return _Noted(source, replace(info, notes=(*info.notes, f"it is mapped in pixels: {error}")))
    return PhotoSource(source, georeference, _described(info, georeference, options))


def _described(info: SourceInfo, georeference: CameraGeoreference, options: CameraOptions) -> SourceInfo:
    sight = georeference.sight
    assert sight is not None
    rows, cols = np.array([info.shape[0] / 2.0]), np.array([info.shape[1] / 2.0])
    accuracy = float(sight.accuracy(rows, cols)[0])
    known = f"within {accuracy:.1f} m (one sigma)" if np.isfinite(accuracy) else "where it shows ground"
    ground = f"the elevation model {options.dem}" if options.dem else "a plane at its take-off height"
    identity = dict(info.identity)
    if options.dem:
        stat = Path(options.dem).stat()
        identity["files"] = [*identity["files"], [Path(options.dem).name, stat.st_size, stat.st_mtime_ns]]
    kept = tuple(note for note in info.notes if "georeference" not in note and "CRS" not in note)
    return replace(
        info,
        georeference=georeference,
        gsd_m=ground_size(georeference, info.shape),
        identity=identity,
        notes=(*kept, f"its camera places it on {ground}, its middle {known}"),
    )


def ground_mask(shows: Bool, window: Window) -> Bool:
    """Cells of 16 x 16 pixels as the pixels of `window`; what lies outside the picture is as its edge is."""
    row = np.clip(np.arange(window.row, window.stop_row) // CELL_PX, 0, shows.shape[0] - 1)
    col = np.clip(np.arange(window.col, window.stop_col) // CELL_PX, 0, shows.shape[1] - 1)
    return np.asarray(shows[np.ix_(row, col)])


class _Noted:
    """A source with one more thing to say."""

    def __init__(self, source: Source, info: SourceInfo) -> None:
        self._source, self.info = source, info
        self.read, self.thumbnail, self.close = source.read, source.thumbnail, source.close
