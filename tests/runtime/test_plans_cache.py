"""The cache of plans: built once, built again for every change, whatever is damaged, whoever else builds."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from calanddet.runtime.errors import EngineError, ModelError, OutputError
from calanddet.runtime.plans import timing
from calanddet.runtime.plans.builder import BuildRequest
from calanddet.runtime.plans.cache import CACHE_VARIABLE, CachedPlan, cache_folder, cached_engine, shared_timing_cache
from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.plans.manifest import Manifest, aimed, manifest_path, mismatches, write_manifest
from calanddet.runtime.plans.options import BatchProfile, PlanOptions
from calanddet.runtime.plans.timing import read_timing, timing_name, write_timing
from calanddet.runtime.spec import ModelSpec

ORIN = Machine("tensorrt", "10.3.0", "Orin", "8.7", 16)
OPTIONS = PlanOptions(profiles=(BatchProfile.static(8),))

BUILDER = """
import sys, time
from pathlib import Path
from test_plans_cache import fake_build
from calanddet.runtime.plans.cache import cached_engine
from calanddet.runtime.plans.machine import Machine
from calanddet.runtime.plans.options import BatchProfile, PlanOptions

def build(request):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    time.sleep(0.6)
    return fake_build(request)

machine = Machine("tensorrt", "10.3.0", "Orin", "8.7", 16)
options = PlanOptions(profiles=(BatchProfile.static(8),))
found = cached_engine(Path(sys.argv[1]), build, machine=machine, options=options, say=print)
print(found.built, found.manifest.plan_sha256)
"""


def fake_build(request: BuildRequest) -> Manifest:
    data = b"plan of " + request.model.read_bytes()
    manifest = Manifest(
        onnx_sha256=sha256(request.model.read_bytes()).hexdigest(),
        plan_sha256=sha256(data).hexdigest(),
        plan_bytes=len(data),
        spec=ModelSpec(name="fake"),
        machine=request.machine,
        options=request.options,
        typing="strong",
        built="",
        seconds=0.0,
    )
    request.plan.write_bytes(data)
    write_manifest(request.plan, manifest)
    return manifest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "valley.onnx"
    path.write_bytes(b"onnx" * 50)
    return path


def cached(model: Path, machine: Machine = ORIN, options: PlanOptions = OPTIONS) -> tuple[CachedPlan, list[str]]:
    lines: list[str] = []
    return cached_engine(model, fake_build, machine=machine, options=options, say=lines.append), lines


def test_builds_once_and_says_so(model: Path, folder: Path) -> None:
    first, lines = cached(model)
    assert first.built
    assert len(lines) == 1
    assert f"building valley.onnx for TensorRT 10.3.0, Orin (SM 8.7, 16 SMs), kept in {folder}" in lines[0]
    assert first.plan.parent == folder
    second, lines = cached(model)
    assert (second.built, second.plan, second.manifest, lines) == (False, first.plan, first.manifest, [])


def test_every_change_that_matters_builds_another(model: Path) -> None:
    plans = {cached(model)[0].plan}
    for machine in (
        replace(ORIN, flavour="rtx", compute_capability="8.6"),
        replace(ORIN, tensorrt="10.3.1"),
        replace(ORIN, gpu="Orin NX"),
        replace(ORIN, compute_capability="8.9"),
        replace(ORIN, sm_count=8),
    ):
        plans.add(cached(model, machine)[0].plan)
    for options in (
        replace(OPTIONS, profiles=(BatchProfile.static(4),)),
        replace(OPTIONS, typing="weak"),
        replace(OPTIONS, workspace_mib=100),
        replace(OPTIONS, level=4),
        replace(OPTIONS, hardware="ampere-plus"),
        replace(OPTIONS, version_compatible=True),
        replace(OPTIONS, tf32=True),
        replace(OPTIONS, targets=("8.9",)),
    ):
        plans.add(cached(model, ORIN, options)[0].plan)
    data = bytearray(model.read_bytes())
    data[77] ^= 1
    model.write_bytes(data)
    plans.add(cached(model)[0].plan)
    assert len(plans) == 1 + 5 + 8 + 1
    # The driver's version is not part of it.
    assert not cached(model, replace(ORIN, driver="600", cuda="13.1", l4t="36", jetpack="6"))[0].built


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("which", [lambda plan: plan, manifest_path])
def test_what_is_damaged_is_built_again(
    model: Path, damage: Callable[[Path], object], which: Callable[[Path], Path]
) -> None:
    first, _ = cached(model)
    whole = first.plan.read_bytes()
    damage(which(first.plan))
    second, lines = cached(model)
    assert second.built
    assert first.plan.read_bytes() == whole
    assert "the kept plan is built again" in lines[0]
    assert not cached(model)[0].built


def test_a_manifest_of_another_plan_is_not_believed(model: Path, tmp_path: Path) -> None:
    found, _ = cached(model)
    write_manifest(found.plan, replace(found.manifest, onnx_sha256="0" * 64))
    again, lines = cached(model)
    assert again.built
    assert "another model" in lines[0]
    write_manifest(found.plan, replace(found.manifest, machine=replace(ORIN, sm_count=4)))
    again, lines = cached(model)
    assert again.built
    assert "4 SMs), this machine has Orin" in lines[0]


def test_a_builder_that_fails_leaves_the_way_free(model: Path) -> None:
    def refuse(request: BuildRequest) -> Manifest:
        raise EngineError("no plan")

    with pytest.raises(EngineError, match="no plan"):
        cached_engine(model, refuse, machine=ORIN, options=OPTIONS)
    assert cached(model)[0].built


def test_nothing_is_built_for_a_gpu_that_rtx_does_not_know(model: Path, folder: Path) -> None:
    with pytest.raises(EngineError, match=r"no plans for this GPU .*Orin \(SM 8\.7"):
        cached(model, replace(ORIN, flavour="rtx"))
    assert not folder.exists()
    assert cached(model, replace(ORIN, flavour="rtx"), replace(OPTIONS, targets=("8.7",)))[0].built


def test_turing_is_named_as_a_target(model: Path) -> None:
    turing = Machine("rtx", "1.7.1.116", "RTX 2060", "7.5", 30)
    made, _ = cached(model, turing)
    assert made.manifest.options.targets == ("7.5",)
    assert mismatches(made.manifest, turing) == []
    assert not cached(model, turing)[0].built, "the kept plan is the one that is asked for"
    assert (
        aimed(OPTIONS, replace(turing, flavour="tensorrt"))
        == aimed(OPTIONS, replace(turing, compute_capability=None))
        == OPTIONS
    )


def test_a_model_that_changes_meanwhile_is_refused(model: Path) -> None:
    def slow(request: BuildRequest) -> Manifest:
        model.write_bytes(b"another")
        return fake_build(request)

    with pytest.raises(ModelError, match="changed while"):
        cached_engine(model, slow, machine=ORIN, options=OPTIONS)


def test_two_processes_at_once_build_once(model: Path, tmp_path: Path) -> None:
    script, log = tmp_path / "builder.py", tmp_path / "log"
    script.write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n{BUILDER}")
    command = [sys.executable, str(script), str(model), str(log)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert log.read_text() == "built\n"
    ends = sorted(text.splitlines()[-1].split()[0] for text in said)
    assert ends == ["False", "False", "True"]
    assert len({text.splitlines()[-1].split()[1] for text in said}) == 1


def test_a_lock_of_a_killed_process_holds_nobody(model: Path, folder: Path) -> None:
    found, _ = cached(model)
    (lock,) = folder.glob("*.lock")
    lock.write_text("999999\n")
    found.plan.unlink()
    assert cached(model)[0].built


def test_the_folder_is_named_or_the_users(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == folder
    assert folder.is_dir()
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "calanddet" / "plans"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "plans"))
    with pytest.raises(OutputError, match=f"set {CACHE_VARIABLE} to another"):
        cache_folder()


def test_a_timing_cache_is_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "t.cache"
    assert read_timing(path) == b""
    assert not caplog.messages
    write_timing(path, b"times" * 30)
    assert read_timing(path) == b"times" * 30
    for damage in (lambda: _flip(path), lambda: _cut(path), lambda: timing._checksum(path).write_text("")):
        write_timing(path, b"times" * 30)
        damage()
        caplog.clear()
        assert read_timing(path) == b""
        assert "is damaged: kernels are timed again" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir() if "cache" in p.name) == ["t.cache", "t.cache.sha256"]
    timing._checksum(path).unlink()
    path.write_bytes(b"of trtexec")
    assert read_timing(path) == b"of trtexec"


def test_timing_caches_are_one_a_kind_of_machine(folder: Path) -> None:
    machines = [ORIN, replace(ORIN, tensorrt="10.16.2"), replace(ORIN, gpu="Orin NX/8 GB"), replace(ORIN, sm_count=8)]
    assert len({timing_name(machine) for machine in machines}) == 4
    assert shared_timing_cache(machines[2]).parent == folder
    assert shared_timing_cache(ORIN).name == "timing-tensorrt-10.3.0-orin-8.7-16.cache"
