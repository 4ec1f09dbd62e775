"""STAC items: which of the files that one describes is the picture to be mapped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.remote import Place, fetched, is_url

__all__ = ["Picture", "is_description", "picture_of"]

_COLOURS = ("red", "green", "blue")
_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".jpeg", ".webp")
_SMALL = frozenset(("thumbnail", "overview", "metadata"))
"""Roles of assets that are no picture to be mapped."""
MOST_BYTES = 1 << 24
MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """What of an item is mapped: one file, with the bands of its colours where the item says them, or three files, of
    red, green and blue; note: which, in words."""

    places: tuple[Place, ...]
    bands: tuple[int, int, int] | None
    note: str


def is_description(place: Place) -> bool:
    """Whether a place is named as a STAC item is."""
    path = str(place).partition("#")[0].partition("?")[0] if is_url(place) else str(place)
    return path.lower().endswith((".json", ".geojson"))


def picture_of(item: Place) -> Picture:
    """The picture of a STAC item (1.0 or 1.1), a JSON file on the disk or on a web server.

    That is its asset `visual`, or the one with that role, else one whose bands are said to hold red, green and blue,
    else three that hold one each, else its only picture. Raises InputError where it is no STAC item, or has none.
    """
    assets = _assets(item)
    for key, asset in sorted(assets.items(), key=lambda entry: entry[0] != "visual"):
        if key == "visual" or "visual" in asset.get("roles", ()):
            return Picture((_place(item, key, asset),), None, f"of the STAC item, its asset {key} is mapped")
    named = {key: _common_names(asset) for key, asset in assets.items()}
    for key, names in named.items():
        if all(colour in names for colour in _COLOURS):
            red, green, blue = (names.index(colour) + 1 for colour in _COLOURS)
            note = f"of the STAC item, bands {red}, {green} and {blue} of its asset {key} are mapped"
            return Picture((_place(item, key, assets[key]),), (red, green, blue), note)
    single = [next((key for key, names in named.items() if names == [colour]), None) for colour in _COLOURS]
    keys = [key for key in single if key is not None]
    if len(keys) == len(_COLOURS):
        places = tuple(_place(item, key, assets[key]) for key in keys)
        note = f"of the STAC item, its assets {', '.join(keys)} are mapped as red, green and blue"
        return Picture(places, None, note)
    if len(assets) == 1:
        ((key, asset),) = assets.items()
        return Picture((_place(item, key, asset),), None, f"of the STAC item, its only picture, {key}, is mapped")
    known = ", ".join(list(assets)[:MOST_NAMED]) + (", ..." if len(assets) > MOST_NAMED else "")
    raise InputError(
        f"the STAC item {item} does not say which of its assets is a picture in colours"
        f"{f' ({known})' if known else ': it has no image'}; give the file of one instead"
    )


def _assets(item: Place) -> dict[str, Mapping[str, Any]]:
    """The assets of an item that are images, by key."""
    try:
        text = fetched(str(item), MOST_BYTES) if is_url(item) else _read(Path(item))
        content = json.loads(text)
    except (ValueError, OSError) as error:
        raise InputError(f"{item} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict) or "stac_version" not in content or content.get("type") != "Feature":
        kind = content.get("type") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{item} is no STAC item but {kind or 'something else'}: give an image, or an item of one")
    assets = content.get("assets")
    found = assets.items() if isinstance(assets, dict) else ()
    return {str(key): asset for key, asset in found if isinstance(asset, dict) and _is_image(asset)}


def _read(path: Path) -> bytes:
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} has more than {MOST_BYTES >> 20} MiB: that is no STAC item")
    return path.read_bytes()


def _is_image(asset: Mapping[str, Any]) -> bool:
    href, roles = asset.get("href"), asset.get("roles") or ()
    if not isinstance(href, str) or _SMALL.intersection(map(str, roles)):
        return False
    kind = str(asset.get("type") or "").lower()
    return kind.startswith("image/") or (not kind and urlsplit(href).path.lower().endswith(_SUFFIXES))


def _common_names(asset: Mapping[str, Any]) -> list[str]:
    """The colours of an asset's bands, in order; "" for those of another kind."""
    bands = asset.get("eo:bands") or asset.get("bands") or ()
    known = [band for band in bands if isinstance(band, dict)]
    return [str(band.get("common_name") or band.get("eo:common_name") or "").lower() for band in known]


def _place(item: Place, key: str, asset: Mapping[str, Any]) -> Place:
    href = str(asset["href"])
    scheme = urlsplit(href).scheme.lower()
    if is_url(item) and scheme in ("", "http", "https"):
        return urljoin(str(item), href)
    if scheme in ("http", "https"):
        return href
    if scheme == "file":
        return Path(unquote(urlsplit(href).path))
    if "://" in href:
        raise InputError(
            f"the asset {key} of {item} is at {href}, which is not read: download it, or give its https address"
        )
    return Path(item).parent / href
