"""The landslides of many maps in one layer."""

from collections.abc import Sequence
from pathlib import Path

from calanddet.runtime.mapping import MapResult
from calanddet.runtime.sinks.joined import Part, join_layers

__all__ = ["append_landslides"]


def append_landslides(results: Sequence[MapResult], path: str | Path) -> int:
    """Add the landslides of maps to the one layer of a GeoPackage, in WGS 84; gives how many were added.

    The layer has each map once: what it has of the same maps, by the place of their files, is replaced, with a
    warning. The columns `input`, `map` and `map_file` say where a landslide comes from; its `id` is that of its own
    map. The file is complete, old or new, at any moment. Raises OptionError where it is not called .gpkg, OutputError
    where it cannot be written or is something else.
    """
    parts = [Part(result.files["geopackage"], _place(result), result.name) for result in results]
    return join_layers(Path(path), parts)


def _place(result: MapResult) -> str:
    """The image's address: its whole path, or its URL; of several files that are one raster, where their map is."""
    told = str(result.report["inputs"][0]["path"])
    if "://" in told:
        return told
    here = Path(told)
    return str(here.resolve()) if here.exists() else f"{told}, mapped in {result.files['geopackage'].resolve().parent}"
