"""Both driver files on the real packages, over a libcuda that is compiled here and needs no GPU."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"
PACKAGES = {"pycuda": "pycuda", "cuda-bindings": "cuda"}
UNSUPPORTED = 801
"""CUDA_ERROR_NOT_SUPPORTED."""


def unused_calls(package: Path) -> str:
    """C for all that pycuda's library wants of libcuda and the stand-in has not: calls that we do not make."""
    (library,) = package.glob("_driver*.so")
    listed = subprocess.run(["nm", "-D", "-u", library], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"\bU (cu[A-Z]\w+)", listed)
    return "".join(f"__attribute__((weak)) int {name}(void) {{ return {UNSUPPORTED}; }}\n" for name in names)


def compile_libcuda(folder: Path, more: str) -> None:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler to make the stand-in for libcuda with")
    rest, library = folder / "rest.c", folder / "libcuda.so.1"
    rest.write_text(more)
    sources = [HELPERS / "libcuda_standin.c", rest]
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *flags, "-o", library, *sources], check=True)
    (folder / "libcuda.so").symlink_to(library.name)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_ring_runs_on_the_real_package(name: str, tmp_path: Path) -> None:
    found = find_spec(PACKAGES[name])
    if found is None or found.submodule_search_locations is None:
        pytest.skip(f"{name} is not installed")
    package = Path(found.submodule_search_locations[0])
    compile_libcuda(tmp_path, unused_calls(package) if name == "pycuda" else "")
    done = subprocess.run(
        [sys.executable, "-m", "helpers.driver_trial", name],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        cwd=HELPERS.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["library"].startswith(name)
    assert said["facts"] == ["Standin", 8, 7, 14, 3 << 30, True]
    assert said["more"] == [2, "12.6"]
    assert said["right"]
    assert said["second"], "closing one of two engines leaves the other alone"
    assert said["copied"]
    assert (said["launches"], said["times"]) == (14, 7), "each batch is a graph"
    assert said["ordered"]
    assert said["free"] == 2 << 30
    assert said["alive"] == said["alive after failures"] == 0
    assert "cuMemHostAlloc failed with CUDA_ERROR_OUT_OF_MEMORY" in said["short"]
    assert "--batch" in said["short"]
    assert "cuStreamWaitEvent failed" in said["broken"]
    assert said["absent"] == "there is no GPU 3: the driver finds 1"
