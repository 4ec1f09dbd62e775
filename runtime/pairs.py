"""Image and mask pairs on disk: found by name, checked before the first one is used."""

import csv
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning, RasterioError

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.integrity import check_end, check_file
from calanddet.runtime.types import Bool, Bytes

__all__ = ["Pair", "find_pairs", "read_image", "read_mask"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
MASK_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
FOLDER_NAMES = (("image", "mask"), ("images", "masks"))
NO_SOURCE = "all"


@dataclass(frozen=True, slots=True)
class Pair:
    """An image, its mask and where they come from; both files were decoded when this was made by `find_pairs`."""

    image: Path
    mask: Path
    source: str
    height: int
    width: int

    def read(self) -> tuple[Bytes, Bytes]:
        """Decode both: uint8 (H, W, 3) RGB, and uint8 (H, W) of 0 and 1.

        What the image does not show (see `read_image`) is no landslide either. Raises InputError naming the file.
        """
        (rgb, shown), truth = _picture(self.image), read_mask(self.mask)
        if rgb.shape[:2] != truth.shape:
            raise InputError(
                f"{self.image} is {rgb.shape[0]} x {rgb.shape[1]} pixels (rows x columns) and its mask {self.mask} is "
                f"{truth.shape[0]} x {truth.shape[1]}: draw the mask on the image's own grid"
            )
        return rgb, truth if shown is None else truth * shown


def find_pairs(images: Path, masks: Path | None = None) -> list[Pair]:
    """All pairs under a folder, sorted by name; every file is decoded, nothing is left out silently.

    images: a folder of images, with `masks` a folder of masks of the same stems; or, without `masks`, a folder that
    holds image/ and mask/ (or images/ and masks/). A pair's source is the `source` column of a manifest.csv in the
    folder or above it, else what stands before "__" in its name.
    Raises InputError for a folder without images, an image without mask or the reverse, two files of one stem, sizes
    that differ, mask values other than {0, 1} or {0, 255}, a file that cannot be decoded in full, and a manifest that
    is no UTF-8 table.
    """
    image_dir, mask_dir = _folders(images, masks)
    image_files, mask_files = _by_stem(image_dir, IMAGE_SUFFIXES), _by_stem(mask_dir, MASK_SUFFIXES)
    if not image_files:
        raise InputError(f"{image_dir} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    for stem, file in image_files.items():
        if stem not in mask_files:
            raise InputError(f"{file} has no mask: {mask_dir} holds no {stem} of {', '.join(sorted(MASK_SUFFIXES))}")
    for stem, file in mask_files.items():
        if stem not in image_files:
            raise InputError(f"{file} is a mask without image: {image_dir} holds no {stem}")
    sources = _manifest(images)
    return [
        _checked(image_files[stem], mask_files[stem], sources.get(image_files[stem].resolve()) or _prefix(stem))
        for stem in sorted(image_files)
    ]


def read_image(file: Path) -> Bytes:
    """Decode a picture to uint8 (H, W, 3), RGB; further bands are dropped.

    It is black where the file says that there is nothing (nodata, alpha 0, a mask), as it is to the network in a map.
    Raises InputError when it cannot be decoded in full, has fewer than three bands, or is not 8 bit.
    """
    return _picture(file)[0]


def _picture(file: Path) -> tuple[Bytes, Bool | None]:
    """See `read_image`; bool, (H, W), False where there is nothing, None where all is shown."""
    bands, shown = _decode(file)
    if len(bands) < 3:
        raise InputError(f"{file} has {len(bands)} band(s); red, green and blue are needed")
    if bands.dtype != np.uint8:
        raise InputError(f"{file} is {bands.dtype}; training and evaluation pairs are 8 bit: stretch it first")
    rgb: Bytes = np.ascontiguousarray(bands[:3].transpose(1, 2, 0), np.uint8)
    if shown is not None:
        rgb[~shown] = 0
    return rgb, shown


def read_mask(file: Path) -> Bytes:
    """Decode a mask of one band to uint8 (H, W) of 0 and 1.

    Raises InputError when it cannot be decoded in full, has several bands, or other values than {0, 1} or {0, 255}.
    """
    bands, _ = _decode(file)
    if len(bands) != 1:
        raise InputError(f"{file} has {len(bands)} bands; a mask has one")
    values = np.unique(bands[0])
    if not (np.isin(values, (0, 1)).all() or np.isin(values, (0, 255)).all()):
        listed = ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
        raise InputError(f"{file} holds the values {listed}; a mask holds 0 and 1, or 0 and 255")
    return np.asarray(bands[0] != 0, np.uint8)


def _decode(file: Path) -> tuple[NDArray[np.generic], Bool | None]:
    """All bands, (bands, H, W), and which pixels they show, bool, (H, W), or None for all.

    A JPEG or PNG that ends early is an error, not a grey or black rest.
    """
    check_file(file)
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            warnings.simplefilter("ignore", NodataShadowWarning)  # alpha is read by itself
            with rasterio.open(file) as dataset:
                check_end(file, dataset.driver)
                return dataset.read(), _shown(dataset)
    except (RasterioError, OSError, ValueError) as error:
        raise InputError(f"{file} cannot be decoded: {error}") from error


def _shown(dataset: rasterio.DatasetReader) -> Bool | None:
    """By nodata in all colours, stored masks and alpha; GDAL forgets alpha beside a nodata value."""
    if all(MaskFlags.all_valid in flags for flags in dataset.mask_flag_enums):
        return None
    shown: Bool = dataset.read_masks(dataset.indexes[:3]).any(axis=0)
    if ColorInterp.alpha in dataset.colorinterp:
        shown &= dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1) > 0
    return shown


def _checked(image: Path, mask: Path, source: str) -> Pair:
    unsized = Pair(image, mask, source, 0, 0)
    height, width = unsized.read()[1].shape
    return Pair(image, mask, source, height, width)


def _folders(images: Path, masks: Path | None) -> tuple[Path, Path]:
    if masks is not None:
        candidates = [(images, masks)]
    else:
        candidates = [(images / image, images / mask) for image, mask in FOLDER_NAMES]
    for image_dir, mask_dir in candidates:
        if image_dir.is_dir() and mask_dir.is_dir():
            return image_dir, mask_dir
    if masks is not None:
        raise InputError(f"{images} and {masks} must both be folders")
    if not images.is_dir():
        raise InputError(f"there is no folder {images}")
    raise InputError(f"{images} must hold the folders image and mask (or images and masks), or come with one of masks")


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    for file in files:
        if file.suffix.lower() not in suffixes or file.name.startswith("."):
            continue
        if file.stem in found:
            raise InputError(f"{file} and {found[file.stem].name} have one stem: keep one of them")
        found[file.stem] = file
    return found


def _manifest(folder: Path) -> dict[Path, str]:
    """Source of each image that a manifest.csv in `folder` or the one above it names."""
    for base in (folder, folder.parent):
        file = base / "manifest.csv"
        if file.is_file():
            return dict(_rows(base, file))
    return {}


def _rows(base: Path, file: Path) -> Iterator[tuple[Path, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:  # spreadsheets put a mark before the first name
            for row in csv.DictReader(stream):
                if row.get("image") and row.get("source"):
                    yield (base / row["image"]).resolve(), row["source"]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read as a table of UTF-8 text: {error}") from error


def _prefix(stem: str) -> str:
    head, separator, _ = stem.partition("__")
    return head if separator and head else NO_SOURCE
