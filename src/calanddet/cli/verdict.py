"""What a map says, for the person who asked for it."""

from typing import TYPE_CHECKING, Any

from calanddet.runtime.sinks.totals import SPECK_PX

if TYPE_CHECKING:
    from calanddet.runtime import MapResult

__all__ = ["counted", "result_rows"]

_NAMES = {"kml_each": "kml, each"}
_MANY = 20
"""Landslides from which on it is worth saying that most are specks."""
_ABSURD = 1e6
"""Square kilometres an hour that no flight covers: the pixels are a weather satellite's."""


def result_rows(result: "MapResult") -> list[tuple[str, str]]:
    """(name, value) rows for a table: the preview first, then what was found, how, and the other files."""
    report = result.report
    (image,) = report["inputs"]
    speed, tiles, seconds = report["throughput"], report["tiles"], report["seconds"]
    size = f"{image['width']} x {image['height']} pixels"
    ground = "" if image["gsd_m"] is None else f" of {_plain(image['gsd_m'])} m"
    rows = report.get("finished_rows")
    if rows is not None:
        size += f", mapped down to row {rows:,} ({rows / image['height']:.0%})"
    pace = f"{speed['tiles_per_s']:.1f} tiles/s, {speed['mpx_per_s']:.2f} Mpx/s"
    known = speed["km2_per_h"] is not None and speed["km2_per_h"] < _ABSURD
    flown = f", {speed['km2_per_h']:,.1f} km2/h" if known else ""
    looked = f", {tiles['passed']:,} not worth it after {tiles['looks']:,} first looks" if tiles.get("looks") else ""
    mapped = f"{counted(tiles['inferred'], 'tile')} mapped, {tiles['skipped']:,} empty ones skipped{looked}"
    return [
        ("preview", str(result.files["preview"])),
        ("landslides", _found(report)),
        *_advice(report),
        ("image", f"{size}{ground}; {mapped}"),
        ("speed", f"{pace}{flown} ({seconds:.1f} s)"),
        ("device", _device(report)),
        *((_NAMES.get(kind, kind), str(path)) for kind, path in result.files.items() if kind != "preview"),
    ]


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is one.

    >>> counted(1, "tile"), counted(1200, "tile")
    ('1 tile', '1,200 tiles')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _found(report: "dict[str, Any]") -> str:
    found, least = report["landslides"], report.get("parameters", {}).get("min_area", 0.0)
    area = f"{found['area_px']:,} pixels" if found["area_m2"] is None else f"{found['area_m2']:,.0f} m2"
    if found.get("area_m2_low") is not None:
        area += f" ({found['area_m2_low']:,.0f} to {found['area_m2_high']:,.0f})"
    unit = "pixels" if found["area_m2"] is None else "m2"
    dropped = f"; {found['dropped']:,} smaller than {_plain(least)} {unit} left out" if found["dropped"] else ""
    return f"{found['count']:,}, {area} in all{dropped}" if found["count"] else f"none found{dropped}"


def _advice(report: "dict[str, Any]") -> list[tuple[str, str]]:
    """A row where most of what was found are specks."""
    found, (image,) = report["landslides"], report["inputs"]
    specks, count = found.get("specks", 0), found["count"]
    if count < _MANY or 2 * specks <= count:
        return []
    size = f"{SPECK_PX} pixels"
    least: float = SPECK_PX
    if found["area_m2"] is not None and image["gsd_m"] is not None:
        least = float(f"{SPECK_PX * image['gsd_m'] ** 2:.2g}")
        size = f"{_plain(least)} m2 ({size})"
    return [
        ("specks", f"{specks:,} of the {count:,} are smaller than {size}: --min-area {_plain(least)} leaves them out")
    ]


def _device(report: "dict[str, Any]") -> str:
    engine, model = report["engine"], report["model"]
    threads = f", {counted(engine['threads'], 'thread')}" if engine["threads"] else ""
    why = f" ({engine['reason']})" if engine.get("reason") else ""
    return f"{engine['engine']} on {engine['device']}{threads}; {model['name']} in {model['precision']}{why}"


def _plain(number: float) -> str:
    """Three digits, never as a power of ten: 0.0173, 25, 20,100."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}" if number >= 1e-4 else f"{number:.7f}"
