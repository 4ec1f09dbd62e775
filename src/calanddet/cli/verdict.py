"""What a map says, for the person who asked for it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calanddet.runtime import MapResult

__all__ = ["result_rows"]


def result_rows(result: "MapResult") -> list[tuple[str, str]]:
    """(name, value) rows for a table: the preview first, then figures, then the other files."""
    report = result.report
    (image,) = report["inputs"]
    found, speed, engine = report["landslides"], report["throughput"], report["engine"]
    tiles, model = report["tiles"], report["model"]
    size = f"{image['width']} x {image['height']} pixels"
    ground = "" if image["gsd_m"] is None else f" at {image['gsd_m']:.3g} m"
    area = f"{found['area_px']:,} pixels" if found["area_m2"] is None else f"{found['area_m2']:,.0f} m2"
    if found.get("area_m2_low") is not None:
        area += f" ({found['area_m2_low']:,.0f} to {found['area_m2_high']:,.0f})"
    rows = report.get("finished_rows")
    if rows is not None:
        size += f", mapped down to row {rows:,} ({rows / image['height']:.0%})"
    dropped = f", {found['dropped']:,} smaller ones left out" if found["dropped"] else ""
    pace = f"{speed['tiles_per_s']:.1f} tiles/s, {speed['mpx_per_s']:.2f} Mpx/s"
    flown = "" if speed["km2_per_h"] is None else f", {speed['km2_per_h']:,.1f} km2/h"
    looked = f", {tiles['passed']} not worth it after {tiles['looks']} first looks" if tiles.get("looks") else ""
    threads = f", {_counted(engine['threads'], 'thread')}" if engine["threads"] else ""
    why = f" ({engine['reason']})" if engine.get("reason") else ""
    device = f"{engine['engine']} on {engine['device']}{threads}; {model['name']} in {model['precision']}{why}"
    rows = [
        ("preview", str(result.files["preview"])),
        ("image", f"{size}{ground}; {tiles['inferred']} tiles mapped, {tiles['skipped']} empty ones skipped{looked}"),
        ("landslides", f"{found['count']:,}, {area} in all{dropped}"),
        ("speed", f"{pace}{flown} ({report['seconds']:.1f} s)"),
        ("device", device),
    ]
    return rows + [(kind, str(path)) for kind, path in result.files.items() if kind != "preview"]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
