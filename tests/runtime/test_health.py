"""Facts about the machine, read from made files, and which engines are worth a trial."""

from pathlib import Path

import pytest

from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.health import choice, host, software
from calanddet.runtime.health.trial import Trial
from calanddet.runtime.plans.machine import Machine


def chosen(engine: str, device: str, *, rate: float = 10.0, asked: str = "auto", reason: str = "") -> Trial:
    info = EngineInfo(engine, device, "fp32", "0" * 64, reason=reason)
    return Trial(asked, info=info, batch=8, repeatable=True, tiles_per_s=rate)


@pytest.mark.parametrize(
    ("most", "used", "free"), [("max", "7", 4096), ("3000000", "1000000", 2000000), ("10", "20", 0), ("x", "1", 4096)]
)
def test_a_containers_limit_counts(tmp_path: Path, most: str, used: str, free: int) -> None:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    (proc / "meminfo").write_text("MemTotal: 9999 kB\nMemAvailable:      4096 kB\n")
    (cgroup / "memory.max").write_text(f"{most}\n")
    (cgroup / "memory.current").write_text(f"{used}\n")
    assert host.free_memory(proc=proc, cgroup=cgroup) == (4096 * 1024 if free == 4096 else free)
    assert host.free_memory(proc=proc, cgroup=tmp_path / "none") == 4096 * 1024
    assert host.free_memory(proc=tmp_path / "none") is None


def test_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "free_memory", lambda: 600 * 2**20)
    found = host.memory()
    assert not found.good
    assert not found.needed, "a small raster may fit"
    assert found.said.startswith("0.6 GiB free, less than")


def test_peak_memory_is_this_process(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   12 kB\n")
    assert host.peak_memory(tmp_path) == 12 * 1024
    assert host.peak_memory(tmp_path / "none") is None


def test_a_jetson_tells_its_power_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "this_machine", lambda: Machine(l4t="36.4.3", jetpack="6.2"))
    monkeypatch.setattr(host, "_said", lambda words: "NV Power Mode: 25W\n1\n" if words[0] == "nvpmodel" else "")
    board, mode = host.jetson()
    assert board.said == "L4T 36.4.3, JetPack 6.2"
    assert mode.facts == {"mode": "25W"}
    assert "never changed" in mode.said
    monkeypatch.setattr(host, "_said", lambda words: "")
    assert not host.jetson()[1].good


def test_no_jetson_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "this_machine", Machine)
    assert host.jetson() == []


@pytest.mark.parametrize("there", [(), (software.OPENVINO,)])
def test_openvino_alone_is_not_used_and_that_is_said(monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...]) -> None:
    monkeypatch.setattr(software, "installed", lambda *names: "2026.4")
    monkeypatch.setattr("calanddet.runtime.engines.ort.providers", lambda: there)
    found = software.openvino()
    assert found.good is bool(there)
    assert ("--engine openvino" if there else "onnxruntime-openvino") in found.said


@pytest.mark.parametrize(
    ("engine", "device", "gpu", "names"),
    [
        ("ONNX Runtime 1.32.0", "CPU", False, ["openvino"]),
        ("ONNX Runtime 1.32.0", "CPU", True, ["tensorrt", "rtx", "cuda", "openvino"]),
        ("TensorRT 10.3.0, plan 12345678", "Orin", True, ["rtx", "cuda", "openvino", "cpu"]),
        ("TensorRT-RTX 1.7, plan 12345678", "RTX", True, ["tensorrt", "cuda", "openvino", "cpu"]),
        ("ONNX Runtime 1.32.0 CUDA", "GPU 0", True, ["tensorrt", "rtx", "openvino", "cpu"]),
    ],
)
def test_all_that_could_run_but_the_chosen(
    monkeypatch: pytest.MonkeyPatch, engine: str, device: str, gpu: bool, names: list[str]
) -> None:
    there = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider")
    monkeypatch.setattr("calanddet.runtime.engines.ort_session.providers", lambda: there)
    monkeypatch.setattr(choice, "why_no_gpu", lambda: None if gpu else "no NVIDIA GPU")
    monkeypatch.setattr(choice, "_flavours", lambda: ["tensorrt", "rtx"])
    assert choice.others(Path("m.onnx"), chosen(engine, device)) == names
    assert choice.others(Path("m.plan"), chosen(engine, device)) == []


def test_what_run_uses_says_why_nothing_faster_and_what_was() -> None:
    cpu = chosen("ONNX Runtime 1.32.0", "CPU", reason="not TensorRT: it is not installed")
    quick, slow = (chosen("ONNX Runtime 1.32.0", "x", rate=rate, asked=f"e{rate:.0f}") for rate in (25.0, 11.0))
    said = choice.uses(cpu, [quick, slow], []).said
    assert said == (
        "ONNX Runtime 1.32.0 on CPU, fp32; nothing faster, since: not TensorRT: it is not installed; "
        "--engine e25 was 2.5 times as fast here"
    )
    waiting = choice.uses(cpu, [], ["rtx"])
    assert waiting.said.startswith("TensorRT-RTX, once the first run has built its plan")
    assert waiting.facts["builds_first"] == ["rtx"]
    nothing = choice.uses(Trial("auto", failure="the GPU is on fire"), [], [])
    assert nothing.needed
    assert not nothing.good
    assert "on fire" in nothing.said
