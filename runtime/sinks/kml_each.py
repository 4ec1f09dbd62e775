"""A KML file of many landslides as a folder of files with one polygon each, for what imports only one."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from calanddet.runtime.errors import OutputError
from calanddet.runtime.replace import to_disk
from calanddet.runtime.sinks.failures import writing
from calanddet.runtime.sinks.kml import TAIL

__all__ = ["each_folder", "refuse_foreign", "write_each"]

BEGIN, END = "<Placemark>", "</Placemark>\n"
_NUMBER = re.compile(r"Landslide (\d+)<")
_POLYGON = re.compile(r"<Polygon>.*?</Polygon>")


def each_folder(kml: Path) -> Path:
    """The folder beside `kml` for its polygons."""
    return kml.with_name(f"{kml.stem}_each")


def refuse_foreign(kml: Path) -> None:
    """Raise OutputError where the folder's name is taken by something that `write_each` has not made."""
    folder = each_folder(kml)
    if not os.path.lexists(folder):
        return
    ours = re.compile(re.escape(kml.stem) + r"_\d{4,}[a-z]*\.kml")
    foreign = "" if folder.is_dir() else "which is no folder"
    if not foreign:
        foreign = next(
            (f"which holds {file.name}" for file in sorted(folder.iterdir()) if not ours.match(file.name)), ""
        )
    if foreign:
        raise OutputError(f"polygons would go into {folder}, {foreign}: move that away, or leave --kml-each out")


def write_each(kml: Path) -> Path:
    """Split `kml`, as `KmlSink` wrote it, into `each_folder`, and give that; one that is there is replaced.

    A file is called by its landslide's number, as `area_landslides_0007.kml`; of a landslide that was cut at the
    antimeridian there are `..._0007a.kml` and `..._0007b.kml`. The folder appears when it is complete; memory holds one
    landslide. Raises OutputError.
    """
    refuse_foreign(kml)
    folder = each_folder(kml)
    growing, old = folder.with_name(f".{folder.name}.partial"), folder.with_name(f".{folder.name}.old")
    with writing(kml.parent):
        for left in (growing, old):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        growing.mkdir()
        try:
            _fill(growing, kml)
        except BaseException:
            shutil.rmtree(growing, ignore_errors=True)
            raise
        if folder.exists():
            folder.rename(old)
        growing.rename(folder)
        to_disk(kml.parent)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _fill(folder: Path, kml: Path) -> None:
    with kml.open(encoding="utf-8", newline="\n") as file:
        digits = max(4, len(str(sum(line.startswith(BEGIN) for line in file))))
        file.seek(0)
        head, first = [], ""
        for line in file:
            if line.startswith((BEGIN, "</Document>")):
                first = line
                break
            head.append(line)
        for placemark in _placemarks(first, file):
            _write_polygons(folder, kml.stem, digits, "".join(head), placemark)
    if hasattr(os, "sync"):  # once, as there may be very many small files
        os.sync()


def _placemarks(first: str, rest: Iterator[str]) -> Iterator[str]:
    """The texts from one <Placemark> to its end."""
    lines = [first]
    for line in rest:
        lines.append(line)
        if line.endswith(END):
            yield "".join(lines)
            lines = []


def _write_polygons(folder: Path, stem: str, digits: int, head: str, placemark: str) -> None:
    number = _NUMBER.search(placemark)
    polygons = _POLYGON.findall(placemark)
    if number is None or not polygons:  # its place is not known
        return
    about = placemark[: placemark.rindex("\n", 0, -1) + 1]
    for n, polygon in enumerate(polygons):
        part = _letters(n) if len(polygons) > 1 else ""
        path = folder / f"{stem}_{int(number[1]):0{digits}d}{part}.kml"
        path.write_text(head + about + polygon + END + TAIL, encoding="utf-8", newline="\n")


def _letters(n: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    before, last = divmod(n, 26)
    return (_letters(before - 1) if before else "") + chr(ord("a") + last)
