"""Runs in processes of their own, to be stopped in every way, and what is left of them."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from helpers.maps import blobs

SHAPE = (2600, 1400)
"""Rows and columns of the image: six rows of blocks, with overviews."""

_CODE = """
    import logging, resource, signal, sys, time
    from pathlib import Path
    import numpy as np
    from calanddet.runtime import MapOptions, run
    from calanddet.runtime.engines.null import NullEngine
    from calanddet.runtime.model import Model
    from calanddet.runtime.types import Prediction

    class Positional(NullEngine):
        \"\"\"Its bytes depend on a tile's slot and companions, as the last bits of a real engine may.\"\"\"

        def _infer(self, tiles):
            time.sleep(float(sys.argv[3]))
            plain = super()._infer(tiles)
            slot = np.arange(len(tiles), dtype=np.uint8)[:, None, None] * 3
            crowd = np.uint8(int(tiles[:, ::16, ::16].sum(dtype=np.int64)) % 7)
            return Prediction(np.minimum(plain.probability, 220) + slot + crowd, plain.presence)

    logging.basicConfig(format="%(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if len(sys.argv) > 4:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
    model = Model(Positional(batch=5))
    try:
        run(model, Path(sys.argv[1]), Path(sys.argv[2]), options=MapOptions(save_every_s=0, min_area=3.0),
            progress=lambda done, total: print(done, total, flush=True))
    finally:
        model.close()
"""


def write_image(path: Path, shape: tuple[int, int] = SHAPE) -> Path:
    """A georeferenced image with hills of red, some landslides, and corners of nodata."""
    red = blobs(7, height=shape[0], width=shape[1], cell=40)
    image = np.stack([red, red // 2, 255 - red])
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 3, "dtype": "uint8", "nodata": 0}
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    with rasterio.open(
        path, "w", **profile, **layout, crs="EPSG:32648", transform=Affine(0.5, 0, 412000, 0, -0.5, 3567000)
    ) as file:
        file.write(np.where(red == 255, 0, image).astype(np.uint8))
    return path


def started(source: Path, out: Path, *, sleep_s: float = 0.0, most_bytes: int | None = None) -> "subprocess.Popen[str]":
    """A run of `source` into `out`, saving at every row of blocks; a line "tiles done, tiles in all" a batch on stdout.

    sleep_s: what a batch takes; most_bytes: the size of which no file may be.
    """
    words = [str(source), str(out), str(sleep_s), *([] if most_bytes is None else [str(most_bytes)])]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_CODE), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(source: Path, out: Path) -> dict[str, bytes]:
    """The files of a run that is left alone, the report excepted."""
    with started(source, out) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return results(out)


def results(out: Path) -> dict[str, bytes]:
    """The bytes of all files of a finished set but the report; fails if anything else lies beside them."""
    found = {path.name: path.read_bytes() for path in sorted(out.iterdir()) if not path.name.endswith("_report.json")}
    assert len(found) == 6, sorted(found)
    assert len(list(out.iterdir())) == 7, sorted(out.iterdir())
    return found
