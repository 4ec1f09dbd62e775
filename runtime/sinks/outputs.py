"""Everything that a map is written as: bands of probability in, a set of finished files out."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType
from typing import BinaryIO

import numpy as np

from calanddet.runtime.errors import OptionError
from calanddet.runtime.polygons import AreaRanges, Groups, LevelScans, Locator, Shaping
from calanddet.runtime.sinks.blocks import Kept, kept_bands
from calanddet.runtime.sinks.caption import Caption
from calanddet.runtime.sinks.cog import CogLook, Grid, MapRasters
from calanddet.runtime.sinks.failures import MEGABYTE, require_space, writing
from calanddet.runtime.sinks.geojson import GeoJsonSink
from calanddet.runtime.sinks.geopackage import GeoPackageSink
from calanddet.runtime.sinks.kml import KmlSink
from calanddet.runtime.sinks.making import Making
from calanddet.runtime.sinks.mask import draw_mask
from calanddet.runtime.sinks.names import OutputNames
from calanddet.runtime.sinks.preview import LINE, PreviewSink
from calanddet.runtime.sinks.protocol import LandslideSink
from calanddet.runtime.sinks.totals import LandslideTotals
from calanddet.runtime.sinks.workdir import WorkDir
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.types import Bytes, Pixels

__all__ = ["MapOutputs", "MapSummary", "OutputOptions"]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """min_area: smaller landslides make no polygon, in square metres, or pixels where the ground is not known; the
    mask keeps them. shaping: how they are cut out, by the threshold alone where None. deflate_threads: compress in so
    many threads, above 1 beside the caller's."""

    min_area: float = 0.0
    shaping: Shaping | None = None
    deflate_threads: int = 1

    def __post_init__(self) -> None:
        if not self.min_area >= 0.0:
            raise OptionError(f"the smallest area must be at least 0, not {self.min_area}")
        if self.deflate_threads < 1:
            raise OptionError(f"compression needs at least 1 thread, not {self.deflate_threads}")


@dataclass(frozen=True, slots=True)
class MapSummary:
    """What was written: names in the work folder, landslides, coordinates ("earth", "other" body, "none": pixels),
    and the seconds that each stage took of its thread."""

    files: tuple[str, ...]
    landslides: LandslideTotals
    coordinates: str
    seconds: Mapping[str, float]


class MapOutputs:
    """Writes a map into a work folder while it streams by: a `BandSink`, to be finished once; one thread at a time.

    Everything follows from the bands alone. So what is safe of a run that was stopped are the bands in the probability
    raster's blocks, and it is taken up by writing those `kept_bands` once more, which then costs no compression.
    Raises OutputError for everything that keeps files from being written, DamagedWork where `kept` does not read back.
    """

    def __init__(
        self,
        work: WorkDir,
        grid: Grid,
        making: Making,
        *,
        options: OutputOptions | None = None,
        kept: Kept = Kept(),
    ) -> None:
        self._work, self._grid, self._making = work, grid, making
        self._options = options or OutputOptions()
        self._shaping = self._options.shaping or Shaping(making.threshold)
        self._names = OutputNames(work.name)
        self._locator = Locator(grid.georeference, (grid.height, grid.width))
        self._rows, self._kept = 0, kept
        self._seconds: dict[str, float] = {}
        looks = {work.file(self._names.probability): CogLook("probability, 254 is certain", making.tags)}
        if not self._shaping.redraws:
            looks[work.file(self._names.mask)] = CogLook.mask(threshold_byte(making.threshold), making.tags)
        require_space(work.out_dir, grid.height * grid.width // 100)
        self._open = ExitStack()
        with writing(work.out_dir):
            self._rasters = MapRasters(grid, looks, threads=self._options.deflate_threads, kept=kept.bytes)
            self._open.callback(self._rasters.close)
            self._scan = self._shaping.scan(grid.width, self._spill())
            self._levels: LevelScans | None = None
            if self._shaping.levels is not None:
                self._levels = LevelScans(self._shaping, grid.width, (self._spill(), self._spill()))

    def write(self, row: int, band: Bytes) -> None:
        """Take the rows from `row` on, uint8, (h, W): 0..254 probability, 255 nodata; the band may be reused then."""
        if row != self._rows or band.shape[1:] != (self._grid.width,) or row + len(band) > self._grid.height:
            raise ValueError(
                f"rows {row} to {row + len(band)} of width {band.shape[1:]} do not follow row {self._rows} of a raster "
                f"of {self._grid.height} x {self._grid.width}"
            )
        with writing(self._work.out_dir, self._bytes_to_come()):
            with self._timed("rasters"):
                self._rasters.write(band)
            with self._timed("regions"):
                self._scan.write(row, band)
                if self._levels is not None:
                    self._levels.write(row, band)
        self._rows += len(band)

    def kept_bands(self) -> Iterator[tuple[int, Bytes]]:
        """(row, band) of what an earlier run kept, to be written first; a band holds until the next one."""
        with writing(self._work.out_dir):
            bands = kept_bands(self._work.file(self._names.blocks), self._kept, (self._grid.height, self._grid.width))
            if self._kept.rows:
                yield from bands

    @property
    def complete_rows(self) -> int:
        """Rows that `secure` would keep."""
        return self._rasters.complete_rows

    def secure(self) -> Kept:
        """Bring what can be taken up again to the disk, and say how much it is."""
        with writing(self._work.out_dir, self._bytes_to_come()):
            return self._rasters.secure()

    def finish(self, thumbnail: Pixels) -> MapSummary:
        """Complete all files but the report; `thumbnail` shows the whole raster, best in `preview_size`."""
        if self._rows != self._grid.height:
            raise ValueError(f"the map ends after {self._rows} of {self._grid.height} rows")
        with writing(self._work.out_dir, self._bytes_to_come()):
            with self._timed("rasters"):
                self._rasters.finish()
            with self._timed("polygons"):
                groups = self._shaping.filled(self._scan.finish(), self._locator)
                preview = PreviewSink(self._grid.height, self._grid.width)
                levels = None if self._levels is None else self._levels.finish(self._locator)
                totals = self._write_landslides(groups, levels, preview)
            if self._shaping.redraws:
                with self._timed("mask"):
                    self._draw_mask(groups)
            if self._levels is not None and levels is not None:
                with self._timed("levels"):
                    self._write_levels(self._levels.around(groups, levels))
            with self._timed("preview"):
                caption = self._caption(totals, preview)
                preview.save(self._work.file(self._names.preview), thumbnail, caption)
        self.close()
        files = (*self._names.files, *(() if self._levels is None else (self._names.levels,)))
        return MapSummary(files, totals, self._locator.body, dict(sorted(self._seconds.items())))

    def close(self) -> None:
        """Close every file, finished or not; idempotent. What a full disk did not take is given up silently."""
        with suppress(OSError):
            self._open.close()

    def __enter__(self) -> "MapOutputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spill(self) -> BinaryIO:
        """An empty file in the work folder, closed with the rest."""
        file = tempfile.TemporaryFile(dir=self._work.path)  # noqa: SIM115
        return self._open.enter_context(file)

    def _write_landslides(
        self, groups: Groups, levels: tuple[Groups, Groups] | None, preview: PreviewSink
    ) -> LandslideTotals:
        tags = self._making.tags
        sinks: tuple[LandslideSink, ...] = (
            GeoJsonSink(self._work.file(self._names.geojson), self._locator, tags),
            GeoPackageSink(self._work.file(self._names.geopackage), self._locator, tags),
            KmlSink(self._work.file(self._names.kml), self._locator, tags),
            preview,
        )
        known = None if self._locator.ellipsoid is None else 0.0
        totals = LandslideTotals(area_m2=known, largest_m2=known)
        ranges = None if levels is None else AreaRanges(groups, levels, self._locator, self._grid.width)
        with ExitStack() as ending:
            for sink in sinks:
                ending.callback(sink.close)
            for found in self._shaping.drawn(groups, self._locator):
                kept = (ranges.added(found) if ranges else found).of_at_least(self._options.min_area)
                for sink in sinks if len(kept) else ():
                    sink.write(kept, totals.count + 1)
                totals = totals.including(kept, len(found) - len(kept))
            for sink in sinks:
                sink.finish()
        return totals

    def _draw_mask(self, groups: Groups) -> None:
        """The mask from the outlines and, for its nodata, the blocks that the probability raster was made of."""
        blocks, shape = self._work.file(self._names.blocks), (self._grid.height, self._grid.width)
        bands = kept_bands(blocks, Kept(self._grid.height, blocks.stat().st_size), shape)
        path, look = self._work.file(self._names.mask), (self._grid, self._making.tags)
        draw_mask(path, look, groups, bands, threads=self._options.deflate_threads)

    def _write_levels(self, levels: Iterable[tuple[Shaping, Groups]]) -> None:
        """One layer with the regions at each threshold, the lowest first, so that the highest are drawn on top."""
        sink, count = GeoPackageSink(self._work.file(self._names.levels), self._locator, self._making.tags), 0
        with closing(sink):
            for shaping, groups in levels:
                for found in shaping.drawn(groups, self._locator):
                    kept = found.of_at_least(self._options.min_area)
                    level = {"level": np.full(len(kept), shaping.threshold)}
                    if len(kept):
                        sink.write(replace(kept, more={**level, **kept.more}), count + 1)
                    count += len(kept)
            sink.finish()

    def _caption(self, totals: LandslideTotals, preview: PreviewSink) -> Caption:
        gsd = self._locator.gsd_m
        scale = gsd and gsd * preview.reduction
        return Caption(self._work.name, totals.count, totals.area_m2, scale, LINE, circled=preview.circled)

    def _bytes_to_come(self) -> int:
        """What the disk still has to take, from what it took: blocks to come, and then their copies in order."""
        if not self._rows:
            return MEGABYTE
        written = self._rasters.written
        return max(MEGABYTE, round(2 * written * self._grid.height / self._rows) - written)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begin = perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + perf_counter() - begin
