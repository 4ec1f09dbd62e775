"""Everything that a map is written as: bands of probability in, a set of finished files out."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType

from calanddet.runtime.errors import OptionError
from calanddet.runtime.polygons import Locator, OutlineScan, measure
from calanddet.runtime.sinks.blocks import Kept, kept_bands
from calanddet.runtime.sinks.caption import Caption
from calanddet.runtime.sinks.cog import CogLook, Grid, MapRasters
from calanddet.runtime.sinks.failures import MEGABYTE, require_space, writing
from calanddet.runtime.sinks.geojson import GeoJsonSink
from calanddet.runtime.sinks.geopackage import GeoPackageSink
from calanddet.runtime.sinks.kml import KmlSink
from calanddet.runtime.sinks.making import Making
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
    mask keeps them. deflate_threads: compress in so many threads, above 1 beside the caller's."""

    min_area: float = 0.0
    deflate_threads: int = 1

    def __post_init__(self) -> None:
        if not self.min_area >= 0.0:
            raise OptionError(f"the smallest area must be at least 0, not {self.min_area}")
        if self.deflate_threads < 1:
            raise OptionError(f"compression needs at least 1 thread, not {self.deflate_threads}")


@dataclass(frozen=True, slots=True)
class MapSummary:
    """What was written: names in the work folder, landslides, coordinates ("earth", "other" body, "none": pixels),
    metres a pixel at the raster's centre where known, and the seconds that each stage took of its thread."""

    files: tuple[str, ...]
    landslides: LandslideTotals
    coordinates: str
    gsd_m: float | None
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
        threshold = threshold_byte(making.threshold)
        self._work, self._grid, self._making = work, grid, making
        self._options = options or OutputOptions()
        self._names = OutputNames(work.name)
        self._locator = Locator(grid.georeference, (grid.height, grid.width))
        self._rows, self._kept = 0, kept
        self._seconds: dict[str, float] = {}
        looks = {
            work.file(self._names.probability): CogLook("probability, 254 is certain", making.tags),
            work.file(self._names.mask): CogLook.mask(threshold, making.tags),
        }
        require_space(work.out_dir, grid.height * grid.width // 100)
        self._open = ExitStack()
        with writing(work.out_dir):
            self._rasters = MapRasters(grid, looks, threads=self._options.deflate_threads, kept=kept.bytes)
            self._open.callback(self._rasters.close)
            spill = tempfile.TemporaryFile(dir=work.path)  # noqa: SIM115  closed with the rest
            self._scan = OutlineScan(grid.width, threshold, self._open.enter_context(spill))

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
                preview = PreviewSink(self._grid.height, self._grid.width)
                totals = self._write_landslides(preview)
            with self._timed("preview"):
                caption = self._caption(totals, preview)
                preview.save(self._work.file(self._names.preview), thumbnail, caption)
        self.close()
        return MapSummary(
            self._names.files, totals, self._locator.body, self._locator.gsd_m, dict(sorted(self._seconds.items()))
        )

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

    def _write_landslides(self, preview: PreviewSink) -> LandslideTotals:
        tags = self._making.tags
        sinks: tuple[LandslideSink, ...] = (
            GeoJsonSink(self._work.file(self._names.geojson), self._locator, tags),
            GeoPackageSink(self._work.file(self._names.geopackage), self._locator, tags),
            KmlSink(self._work.file(self._names.kml), self._locator, tags),
            preview,
        )
        known = None if self._locator.ellipsoid is None else 0.0
        totals = LandslideTotals(area_m2=known, largest_m2=known)
        with ExitStack() as closing:
            for sink in sinks:
                closing.callback(sink.close)
            for outlines in self._scan.finish():
                found = measure(outlines, self._locator)
                kept = found.of_at_least(self._options.min_area)
                for sink in sinks:
                    sink.write(kept, totals.count + 1)
                totals = totals.including(kept, len(found) - len(kept))
            for sink in sinks:
                sink.finish()
        return totals

    def _caption(self, totals: LandslideTotals, preview: PreviewSink) -> Caption:
        gsd = self._locator.gsd_m
        return Caption(self._work.name, totals.count, totals.area_m2, gsd and gsd * preview.reduction, LINE)

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
