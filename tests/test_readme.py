"""The README's example for Python runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from helpers.numbers import random_rgb

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs_beside_an_image_of_that_name(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    profile = {"driver": "GTiff", "height": 230, "width": 310, "count": 3, "dtype": "uint8"}
    grid = {"crs": "EPSG:32648", "transform": Affine(0.5, 0, 412000, 0, -0.5, 3567000)}
    with rasterio.open(tmp_path / "area.tif", "w", **profile, **grid) as file:
        file.write(np.moveaxis(random_rgb(1, 230, 310), 2, 0))
    call = [sys.executable, "-c", example]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "area_landslides.gpkg" in done.stdout
    assert (tmp_path / "maps" / "area_report.json").exists()
