"""Manifests, options and machines: what is read back, what is refused, and which plan fits where."""

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from calanddet.runtime.cuda.facts import DeviceFacts
from calanddet.runtime.errors import ModelError, OptionError
from calanddet.runtime.plans import machine as machine_module
from calanddet.runtime.plans.lock import turn
from calanddet.runtime.plans.machine import Machine, this_machine
from calanddet.runtime.plans.manifest import (
    Layer,
    Manifest,
    manifest_path,
    mismatches,
    read_manifest,
    write_manifest,
)
from calanddet.runtime.plans.options import BatchProfile, PlanOptions, parse_profiles
from calanddet.runtime.spec import ModelSpec

ORIN = Machine("tensorrt", "10.3.0", "Orin", "8.7", 16, None, "12.6", "36.4.0", "6.1")
LAPTOP = Machine("rtx", "1.7.1.116", "RTX 4070", "8.9", 36, "580.65", "13.0")
PLAN = b"plan" * 999


def manifest_of(machine: Machine = ORIN, options: PlanOptions | None = None) -> Manifest:
    return Manifest(
        onnx_sha256="ab" * 32,
        plan_sha256=sha256(PLAN).hexdigest(),
        plan_bytes=len(PLAN),
        spec=ModelSpec(name="valley", gsd_m=(0.25, 0.75), precision="fp16", metrics={"iou": 0.5}),
        machine=machine,
        options=options or PlanOptions(),
        typing="strong",
        built="2026-11-24T00:00:00+00:00",
        seconds=311.5,
        network={"softmax fp16": 12},
        engine_layers=(Layer("a/MatMul", "gemm", ("fp16",)), Layer("b", "", ())),
        gate={"iou_drop": 0.001},
    )


def written(folder: Path, manifest: Manifest) -> Path:
    plan = folder / "valley.plan"
    plan.write_bytes(PLAN)
    write_manifest(plan, manifest)
    return plan


@pytest.mark.parametrize("layers", [None, (), (Layer("x", "cast", ("uint8",)),)])
def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, layers: tuple[Layer, ...] | None) -> None:
    options = PlanOptions(parse_profiles("1,4-8-16"), "weak", 512, 5, "ampere-plus", True, True, ("8.9",))
    manifest = replace(manifest_of(options=options), engine_layers=layers, gate=None)
    plan = written(tmp_path, manifest)
    assert read_manifest(plan) == manifest
    assert manifest_path(plan).name == "valley.plan.json"
    assert json.loads(manifest_path(plan).read_text())["machine"]["l4t"] == "36.4.0"


def test_what_is_damaged_is_told_apart(tmp_path: Path) -> None:
    plan = written(tmp_path, manifest_of())
    beside = manifest_path(plan)
    text = beside.read_text()
    plan.write_bytes(PLAN[:-1])
    with pytest.raises(ModelError, match=r"has 3995 bytes, its manifest says 3996.*calanddet build"):
        read_manifest(plan)
    plan.write_bytes(PLAN[:-1] + b"X")
    with pytest.raises(ModelError, match="damaged, or not the one of its manifest"):
        read_manifest(plan)
    assert read_manifest(plan, verify=False).plan_bytes == 3996
    plan.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        read_manifest(plan)
    plan.write_bytes(PLAN)
    for damage in (
        text[:200],
        "[]",
        "null",
        text.replace('"format": 1', '"format": 9'),
        text.replace("plan_bytes", "x"),
    ):
        beside.write_text(damage)
        with pytest.raises(ModelError, match="build it again"):
            read_manifest(plan)
    for key, value in (("machine", 7), ("options", {}), ("spec", {}), ("engine_layers", [1]), ("plan_bytes", None)):
        beside.write_text(json.dumps({**json.loads(text), key: value}))
        with pytest.raises(ModelError, match="build it again"):
            read_manifest(plan)
    beside.unlink()
    with pytest.raises(ModelError, match="has no manifest"):
        read_manifest(plan)


def test_a_plan_fits_the_machine_that_it_was_built_on() -> None:
    for machine in (ORIN, LAPTOP):
        assert mismatches(manifest_of(machine), machine) == []
        # What the driver says besides decides nothing.
        assert mismatches(manifest_of(machine), replace(machine, driver="1", cuda="11.8", l4t="0", jetpack="0")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tensorrt": "10.16.2"}, r"TensorRT: built for 10\.3\.0, this machine has 10\.16\.2"),
        ({"tensorrt": None}, "built for 10.3.0, this machine has none"),
        ({"flavour": "rtx"}, "flavour: built for tensorrt, this machine has rtx"),
        ({"gpu": "Orin NX"}, r"built for Orin \(SM 8\.7, 16 SMs\), this machine has Orin NX"),
        ({"sm_count": 8}, r"16 SMs\), this machine has Orin \(SM 8\.7, 8 SMs\)"),
        ({"compute_capability": "11.0"}, "SM 11.0"),
        ({"gpu": None, "compute_capability": None, "sm_count": None}, "this machine has none"),
    ],
)
def test_another_machine_is_named_beside_the_plans(change: dict[str, Any], said: str) -> None:
    (found,) = mismatches(manifest_of(), replace(ORIN, **change))
    assert re.search(said, found), found


def test_compatibility_widens_what_fits() -> None:
    newer, older = replace(ORIN, tensorrt="11.4.0"), replace(ORIN, tensorrt="10.2.0")
    assert mismatches(manifest_of(options=PlanOptions(version_compatible=True)), newer) == []
    assert mismatches(manifest_of(options=PlanOptions(version_compatible=True)), older)
    nano = replace(ORIN, gpu="Orin Nano", sm_count=8)
    ada, turing = replace(ORIN, compute_capability="8.9"), replace(ORIN, compute_capability="7.5")
    thor = replace(ORIN, compute_capability="11.0")
    fits = {
        level: [not mismatches(manifest_of(options=PlanOptions(hardware=level)), m) for m in (nano, ada, thor, turing)]
        for level in ("same", "same-compute-capability", "ampere-plus")
    }
    assert fits == {
        "same": [False, False, False, False],
        "same-compute-capability": [True, False, False, False],
        "ampere-plus": [True, True, True, False],
    }


def test_a_cross_built_plan_leaves_the_gpu_open() -> None:
    made = manifest_of(Machine("rtx", LAPTOP.tensorrt))
    assert mismatches(made, LAPTOP) == []
    assert mismatches(made, replace(LAPTOP, compute_capability="12.0", gpu="RTX 5090")) == []
    for other in ("7.5", "8.7", "9.0", "11.0"):
        (found,) = mismatches(made, replace(LAPTOP, compute_capability=other))
        assert f"built for SM 8.0, 8.6, 8.9 and 12.0 or newer, this machine has RTX 4070 (SM {other}" in found
    aimed = manifest_of(LAPTOP, PlanOptions(targets=("8.6", "12.0")))
    assert "built for SM 8.6, 12.0" in mismatches(aimed, LAPTOP)[0]
    assert mismatches(aimed, replace(LAPTOP, compute_capability="8.6")) == []


def test_profiles_are_read_and_found() -> None:
    assert parse_profiles("1, 4-16,2-3-8") == (
        BatchProfile.static(1),
        BatchProfile(4, 16, 16),
        BatchProfile(2, 3, 8),
    )
    manifest = manifest_of(options=PlanOptions(parse_profiles("1-16,8,2")))
    assert [manifest.profile_for(n) for n in (1, 2, 8, 16, 17)] == [0, 2, 1, 0, None]
    assert [str(p) for p in manifest.profiles] == ["1-16-16", "8", "2"]
    for wrong in (
        "",
        "0",
        "8-1",
        "1-2-3-4",
        "a",
        "1,1",
        "-1",
        "1--2",
        "1025",
        "1-9-8",
        "²",
        "9" * 5000,
        "1-" + "9" * 5000,
    ):
        with pytest.raises(OptionError) as caught:
            parse_profiles(wrong)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"profiles": ()},
        {"typing": "none"},
        {"hardware": "all"},
        {"workspace_mib": 0},
        {"level": 6},
        {"targets": ("89",)},
    ],
)
def test_options_refuse_what_there_is_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        PlanOptions(**wrong)


def test_a_jetson_is_recognised_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, packages = tmp_path / "nv_tegra_release", tmp_path / "status"
    release.write_text("# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic\n")
    packages.write_text(
        "Package: nvidia-jetpack-dev\nStatus: install ok installed\nVersion: 9.9\n\n"
        "Package: nvidia-jetpack\nStatus: install ok installed\nPriority: standard\nVersion: 6.1+b123\nDepends: x\n\n"
        "Package: zsh\nStatus: install ok installed\nVersion: 5.8\n"
    )
    monkeypatch.setattr(machine_module, "L4T_FILE", release)
    monkeypatch.setattr(machine_module, "PACKAGES_FILE", packages)
    gpu = DeviceFacts("Orin", (8, 7), 16, 8 << 30, True, 1, "12.6", None)
    assert this_machine(gpu=gpu, flavour="tensorrt", tensorrt="10.3.0") == ORIN
    assert str(ORIN) == "TensorRT 10.3.0, Orin (SM 8.7, 16 SMs)"
    release.write_text("something else")
    packages.unlink()
    assert this_machine() == Machine()
    assert str(Machine()) == "no TensorRT, no GPU"


def test_a_full_disk_keeps_nobody_from_his_turn() -> None:
    with turn(Path("/dev/full")):
        pass
