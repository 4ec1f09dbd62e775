"""Landslides as KML 2.2 for globes and ground stations, written while they are traced."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from calanddet.runtime.polygons import Landslides
from calanddet.runtime.polygons.locate import Locator
from calanddet.runtime.sinks.attributes import attributes
from calanddet.runtime.sinks.coordinates import decimals_for
from calanddet.runtime.sinks.rings import Shape, shapes_of

__all__ = ["TAIL", "KmlSink"]

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2">\n<Document>\n'
TAIL = "</Document>\n</kml>\n"
STYLE = (
    '<Style id="landslide"><LineStyle><color>ff0000ff</color><width>2</width></LineStyle>'
    "<PolyStyle><color>4d0000ff</color></PolyStyle></Style>\n"
)
"""Red as in the preview; colours are alpha, blue, green, red."""
PLACES = {
    "earth": "Landslides, numbered as in the GeoJSON of the same name.",
    "other": "The raster shows another body than the Earth, where KML has no coordinates: see the GeoJSON.",
    "none": "The raster's place on the ground is not known, so nothing can be shown here: see the GeoJSON.",
}


class KmlSink:
    """A Document of one Placemark a landslide, on its own lines; exteriors run counter-clockwise, on the ground.

    Attributes are ExtendedData with a Schema; one that is not known is left out. KML knows longitudes and latitudes on
    WGS 84 alone: elsewhere the document has no landslide and says why.
    """

    def __init__(self, path: Path, locator: Locator, about: Mapping[str, str]) -> None:
        self._decimals = decimals_for(locator.gsd_m)
        self._body = locator.body
        self._about, self._name = dict(about), path.stem
        self._schema = False
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._file.write(HEAD)
        self._file.write(f"<name>{escape(self._name)}</name><description>{PLACES[self._body]}</description>\n{STYLE}")
        self._file.write(_data(self._about.items()))

    def write(self, landslides: Landslides, first_id: int) -> None:
        """Add landslides, numbered from `first_id`. Raises OSError when the disk is full."""
        if self._body != "earth" or not len(landslides):
            return
        columns = attributes(landslides, first_id)
        if not self._schema:
            types = {name: "double" if column.dtype.kind == "f" else "int" for name, column in columns.items()}
            fields = "".join(f'<SimpleField name="{name}" type="{kind}"/>' for name, kind in types.items())
            self._file.write(f'<Schema id="landslides" name="landslides">{fields}</Schema>\n')
            self._schema = True
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        for row, shape in zip(rows, shapes_of(landslides, self._decimals, geographic=True), strict=True):
            self._file.write(_placemark(dict(zip(columns, row, strict=True)), shape))

    def finish(self) -> None:
        """Complete the file. Raises OSError when the disk is full."""
        self._file.write(TAIL)
        self._file.close()

    def close(self) -> None:
        """Close the file; idempotent. What a full disk did not take is given up silently."""
        with suppress(OSError):
            self._file.close()


def _data(pairs: Iterable[tuple[str, str]]) -> str:
    """Untyped ExtendedData, one line."""
    inside = "".join(f"<Data name={quoteattr(k)}><value>{escape(v)}</value></Data>" for k, v in pairs)
    return f"<ExtendedData>{inside}</ExtendedData>\n"


def _placemark(values: Mapping[str, float], shape: Shape | None) -> str:
    """Three lines: what it is, what is known of it, where it lies."""
    known = {name: value for name, value in values.items() if value == value}  # NaN is not equal to itself
    data = "".join(f'<SimpleData name="{name}">{value}</SimpleData>' for name, value in known.items())
    return (
        f"<Placemark><name>Landslide {values['id']}</name><styleUrl>#landslide</styleUrl>\n"
        f'<ExtendedData><SchemaData schemaUrl="#landslides">{data}</SchemaData></ExtendedData>\n'
        f"{_geometry(shape)}</Placemark>\n"
    )


def _geometry(shape: Shape | None) -> str:
    if shape is None:
        return ""
    polygons = [_polygon(rings) for rings in shape]
    return polygons[0] if len(polygons) == 1 else f"<MultiGeometry>{''.join(polygons)}</MultiGeometry>"


def _polygon(rings: list[str]) -> str:
    lines = [f"<LinearRing><coordinates>{_tuples(ring)}</coordinates></LinearRing>" for ring in rings]
    holes = "".join(f"<innerBoundaryIs>{line}</innerBoundaryIs>" for line in lines[1:])
    return f"<Polygon><tessellate>1</tessellate><outerBoundaryIs>{lines[0]}</outerBoundaryIs>{holes}</Polygon>"


def _tuples(ring: str) -> str:
    """`[x,y],[x,y]` as KML has it: `x,y x,y`."""
    return ring[1:-1].replace("],[", " ")
