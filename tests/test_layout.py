"""Which room may import which: walked with `ast`, so that nothing has to be importable here."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "runtime": set[str](),
    "model": {"runtime"},
    "export": {"model", "runtime"},
    "calib": {"runtime"},
    "benchmarks": {"calib", "export", "model", "runtime"},
}
"""Which folders a folder may import from, itself apart."""

RUNTIME_LEVELS = [
    {"errors", "types", "spec"},
    {"tiling", "blend", "stretch", "metrics", "georef", "interrupt", "gsd", "locking", "replace", "picture", "chart"},
    {"scenes", "presets"},
    {"cuda", "sources", "pairs", "mosaic", "polygons", "catalog", "plans", "camera", "telemetry", "triage"},
    {"sinks"},
    {"engines"},
    {"pipeline", "journal", "health", "resources"},
    {"model", "options", "job", "mapping", "joining", "partial", "agreement", "checkup", "frames"},
    {"evaluation", "explanation"},
]
"""Inside runtime, later may import earlier; `_native` belongs to mosaic."""

HEAVY = {
    "torch": {"model", "export", "benchmarks", "tests"},
    "onnx": {"export", "calib", "benchmarks", "tests"},
    "onnxruntime": {"runtime", "export", "calib", "benchmarks", "tests"},
}
"""In which folders a package may be imported."""

NEVER_EAGER = ("torch", "onnx", "tensorrt", "pycuda", "cuda")


def modules() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere, functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
            names.add(node.module)
    return names


def own_parts(path: Path) -> set[tuple[str, ...]]:
    """("runtime", "tiling", ...) for each import from this package."""
    return {tuple(name.split(".")[1:]) for name in imported(path) if name.startswith("calanddet.")}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_downwards_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    used = {parts[0] for parts in own_parts(path) if parts[0] != "__version__"} - {room}
    assert used <= ROOMS[room], f"{path.relative_to(ROOT)} imports from {sorted(used - ROOMS[room])}"


@pytest.mark.parametrize("path", sorted((ROOT / "runtime").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_inside_runtime_later_imports_earlier(path: Path) -> None:
    noun = path.relative_to(ROOT / "runtime").parts[0].removesuffix(".py")
    if noun == "__init__":
        return
    level = next(i for i, nouns in enumerate(RUNTIME_LEVELS) if noun in nouns)
    allowed = set[str]().union(*RUNTIME_LEVELS[:level]) | RUNTIME_LEVELS[level] | {"_native"}
    used = {parts[1] for parts in own_parts(path) if parts[0] == "runtime" and len(parts) > 1}
    assert used <= allowed, f"{path.relative_to(ROOT)} imports {sorted(used - allowed)}, which come later"


@pytest.mark.parametrize("package", HEAVY)
def test_heavy_packages_stay_in_their_rooms(package: str) -> None:
    rooms = HEAVY[package]
    for path in modules():
        names = {name.split(".")[0] for name in imported(path)}
        assert package not in names or path.relative_to(ROOT).parts[0] in rooms, path.relative_to(ROOT)


@pytest.mark.parametrize("package", ["tensorrt", "pycuda", "cuda"])
def test_gpu_packages_have_one_file_a_room(package: str) -> None:
    users = [path for path in modules() if package in {name.split(".")[0] for name in imported(path)}]
    rooms = [path.relative_to(ROOT).parts[0] for path in users]
    assert len(rooms) == len(set(rooms)), [str(path.relative_to(ROOT)) for path in users]


def test_nothing_imports_the_command_line() -> None:
    for path in modules():
        assert not any(parts[0] == "cli" for parts in own_parts(path)), path


@pytest.mark.parametrize("module", ["calanddet.runtime", "calanddet.cli.main"])
def test_import_is_light(module: str) -> None:
    """Nothing heavy is imported with the runtime or the command line; measured in a fresh interpreter."""
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert not loaded & set(NEVER_EAGER)
    if module == "calanddet.cli.main":
        assert not loaded & {"numpy", "rasterio", "cv2", "onnxruntime"}
