"""From what a user names (files, folders, globs) to the list of images to be mapped."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from calanddet.runtime.errors import InputError
from calanddet.runtime.sources.pieces import Pieces
from calanddet.runtime.sources.remote import Place, is_url, stem_of

__all__ = ["SUFFIXES", "find_inputs", "find_pieces"]

_RASTERS = frozenset((".tif", ".tiff", ".gtiff", ".cog", ".vrt", ".img", ".ntf", ".nitf"))
_PICTURES = frozenset((".jpg", ".jpeg", ".jp2", ".j2k", ".png", ".webp", ".bmp"))
SUFFIXES = _RASTERS | _PICTURES
"""File names that count as imagery in a folder; a file named by itself may have any."""

_PARTIAL = ("_partial_probability", "_partial_mask", "_partial_preview")
_PRODUCTS = ("_probability", "_mask", "_preview", "_truth", *_PARTIAL)


def find_inputs(inputs: Sequence[Place]) -> list[Place]:
    """The images that `inputs` name, each once, in the order given; folders and globs sorted by name.

    A folder gives the images directly in it, by suffix, without hidden files and without what an earlier run, or
    `synth`, wrote beside its input. A glob that the shell did not expand is expanded here; `**` goes into subfolders.
    A URL (http, https) stands for itself.
    Raises InputError, naming them, for what does not exist, folders and globs without an image, and images whose names
    differ only in folder, suffix or case, since their outputs would collide.
    """
    found = _found(inputs)
    _refuse_collisions(found)
    return found


def find_pieces(inputs: Sequence[Place]) -> Pieces:
    """The images that `inputs` name, as in `find_inputs`, as one raster; their names may be alike."""
    return Pieces.of(_found(inputs))


def _found(inputs: Sequence[Place]) -> list[Place]:
    if not inputs:
        raise InputError("no input was named: give an image, a folder of images, or a glob")
    paths = [item for item in inputs if not is_url(item)]
    missing = [str(item) for item in paths if not _exists(Path(item)) and not glob.has_magic(str(item))]
    if missing:
        verb = "does" if len(missing) == 1 else "do"
        raise InputError(f"{', '.join(missing)} {verb} not exist: check the name")
    found: dict[Place, Place] = {}
    for item in inputs:
        for path in [str(item)] if is_url(item) else _expanded(item):
            found.setdefault(path.resolve() if isinstance(path, Path) else path, path)
    return list(found.values())


def _expanded(item: Place) -> list[Path]:
    path = Path(item)
    if path.is_dir():
        try:
            images = _images(path.iterdir())
        except OSError as error:
            raise InputError(f"the folder {path} cannot be read: {error.strerror}") from error
        if not images:
            raise InputError(f"the folder {path} has no image in it ({', '.join(sorted(SUFFIXES))})")
        return images
    if _exists(path):
        return [path]
    # A suffix that the pattern spells out is the user's choice, however odd.
    images = _images(map(Path, glob.glob(str(item), recursive=True)), path.suffix)  # noqa: PTH207 (absolute patterns)
    if not images:
        raise InputError(f"no image matches {item}")
    return images


def _images(paths: Iterable[Path], wanted: str = "") -> list[Path]:
    files = sorted(path for path in paths if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if path.suffix.lower() in SUFFIXES or (wanted and path.suffix == wanted)]
    stems = {(path.parent, path.stem) for path in images}
    return [path for path in images if not _is_product(path, stems)]


def _is_product(path: Path, stems: set[tuple[Path, str]]) -> bool:
    return any(
        path.stem.endswith(product) and (path.parent, path.stem.removesuffix(product)) in stems for product in _PRODUCTS
    )


def _refuse_collisions(paths: Iterable[Place]) -> None:
    taken: dict[str, Place] = {}
    for path in paths:
        other = taken.setdefault(stem_of(path).casefold(), path)
        if other is not path:
            raise InputError(
                f"{other} and {path} would write the same outputs, named after {stem_of(path)}: rename one, or map "
                "them one at a time into folders of their own"
            )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
