"""The CUDA layer's owners on a CUDA in memory, and what is said where there is no GPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from calanddet.runtime import EngineError, MissingDependency
from calanddet.runtime.cuda import facts as facts_module
from calanddet.runtime.cuda import opening, presence
from calanddet.runtime.cuda.device import Device
from calanddet.runtime.cuda.facts import DeviceFacts, cuda_version, driver_version
from helpers.numbers import random_rgb
from helpers.software_cuda import SoftwareCuda


def test_bytes_go_to_the_device_and_come_back() -> None:
    cuda = SoftwareCuda(1)
    sent = random_rgb(3, 7, 11).reshape(-1)
    with (
        Device(cuda) as device,
        device.stream() as stream,
        device.memory(sent.size) as memory,
        device.pinned(sent.size) as there,
        device.pinned(sent.size) as back,
    ):
        there.array[:] = sent
        memory.fill_from(there, stream)
        memory.copy_to(back, stream)
        stream.synchronize()
        np.testing.assert_array_equal(back.array, sent)
        assert there.device_address == there.handle, "the software device sees host memory where it is"
    assert not cuda.alive()


def test_a_graph_does_what_the_launches_did() -> None:
    cuda, counted = SoftwareCuda(2), [0]

    def count() -> None:
        counted[0] += 1

    with Device(cuda) as device, device.stream() as stream:
        with device.capture(stream) as made:
            for _ in range(3):
                cuda.enqueue(stream.handle, count)
        assert counted == [0], "a capture runs nothing"
        with made[0] as graph:
            graph.launch(stream)
            graph.launch(stream)
            stream.synchronize()
            assert counted == [6]
    assert not cuda.alive()


def test_an_error_in_a_capture_leaves_the_stream_usable() -> None:
    cuda = SoftwareCuda(3)
    with Device(cuda) as device, device.stream() as stream:
        with pytest.raises(ZeroDivisionError), device.capture(stream):
            _ = 1 // 0
        assert "graphs" not in cuda.alive()
        cuda.enqueue(stream.handle, lambda: None)
        stream.synchronize()
    assert cuda.ran == ["compute"]


def test_events_keep_their_time() -> None:
    cuda = SoftwareCuda(4)
    with Device(cuda) as device, device.stream() as stream, device.event() as start, device.event() as stop:
        stream.record(start)
        for _ in range(5):
            cuda.enqueue(stream.handle, lambda: None)
        stream.record(stop)
        stop.finish()
        assert stop.since(start) == 6, "five kernels and a record, by the software's clock"


def test_what_is_closed_is_refused() -> None:
    with Device(SoftwareCuda()) as device:
        stream, pinned = device.stream(), device.pinned(5)
        memory = device.memory(5)
        for owner in (stream, pinned, memory):
            owner.close()
            owner.close()
        with pytest.raises(EngineError, match="this Stream is closed"):
            stream.synchronize()
        with pytest.raises(EngineError, match="this PinnedBuffer is closed"):
            _ = pinned.array
        with pytest.raises(EngineError, match="this DeviceBuffer is closed"):
            _ = memory.handle


def test_sizes_that_do_not_belong_together() -> None:
    with (
        Device(SoftwareCuda()) as device,
        device.stream() as stream,
        device.memory(12) as memory,
        device.pinned(13) as pinned,
    ):
        with pytest.raises(EngineError, match="13 bytes on the host do not belong to 12"):
            memory.fill_from(pinned, stream)
        with pytest.raises(EngineError, match="13 bytes"):
            memory.copy_to(pinned, stream)


def test_a_device_is_given_back_once() -> None:
    cuda = SoftwareCuda()
    device = Device(cuda)
    assert device.free_memory() == 8 << 30
    assert str(device.facts) == "Softy (SM 8.7, 16 SMs, 8.0 GiB)"
    device.close()
    device.close()
    assert not cuda.alive()
    with pytest.raises(EngineError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        Device(SoftwareCuda(faults={"enter": "CUDA_ERROR_OUT_OF_MEMORY"}))


def test_facts_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [cuda_version(number) for number in (11080, 12060, 13020)] == ["11.8", "12.6", "13.2"]
    assert str(DeviceFacts("Orin", (8, 7), 16, 15 << 29, True, 2, "12.6")) == "Orin (SM 8.7, 16 SMs, 7.5 GiB)"
    told = tmp_path / "version"
    monkeypatch.setattr(facts_module, "DRIVER_FILE", told)
    assert driver_version() is None
    told.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 12\n"
    )
    assert driver_version() == "580.65.06"
    told.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n")
    assert driver_version() == "535.183.01"
    told.write_text("nothing known")
    assert driver_version() is None


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any of the files of a GPU; gives a file that exists."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("DESKTOP", "WSL", "WSL_DRIVER", "WINDOWS_DRIVER"):
        monkeypatch.setattr(presence, name, tmp_path / "absent")
    monkeypatch.setattr(presence, "JETSON", (tmp_path / "absent",))
    there = tmp_path / "there"
    there.touch()
    return there


def test_a_gpu_is_seen_by_its_files(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert presence.why_no_gpu() == "no NVIDIA GPU"
    with monkeypatch.context() as patch:
        patch.setattr(presence, "DESKTOP", bare)
        assert presence.why_no_gpu() is None
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert presence.why_no_gpu() == "CUDA_VISIBLE_DEVICES hides every GPU"
        patch.setenv("CUDA_VISIBLE_DEVICES", "1")
        assert presence.why_no_gpu() is None
    with monkeypatch.context() as patch:
        patch.setattr(presence, "JETSON", (bare.with_name("absent"), bare))
        assert presence.why_no_gpu() is None
    with monkeypatch.context() as patch:
        patch.setattr(presence, "WSL", bare)
        assert presence.why_no_gpu() == "no NVIDIA GPU", "a display alone is no CUDA"
        patch.setattr(presence, "WSL_DRIVER", bare)
        assert presence.why_no_gpu() is None
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        assert presence.why_no_gpu() == "no NVIDIA driver"
        patch.setattr(presence, "WINDOWS_DRIVER", bare)
        assert presence.why_no_gpu() is None


def test_asked_for_in_vain(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="no NVIDIA GPU; --engine cpu runs everywhere"):
        opening.open_driver()
    monkeypatch.setattr(presence, "DESKTOP", bare)
    with pytest.raises(EngineError, match="pycuda or cuda-bindings, not through 'opencl'"):
        opening.open_driver("opencl")
    for name in ("pycuda", "pycuda.driver", "cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    for module, _ in opening.LIBRARIES.values():
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(MissingDependency, match=r"pip install cuda-bindings.*pip install pycuda"):
        opening.open_driver()
    with pytest.raises(MissingDependency) as caught:
        opening.open_driver("cuda-bindings")
    assert "pycuda: " not in str(caught.value), "what was not asked for was not tried"


def test_the_first_package_that_is_there_is_taken(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "DESKTOP", bare)
    there = {"cuda-bindings": SoftwareCuda(library="cuda-bindings 1"), "pycuda": SoftwareCuda(library="pycuda 1")}

    def maker(name: str) -> object:
        if name not in there:
            raise ImportError(f"no {name}")
        return lambda index: there[name]

    monkeypatch.setattr(opening, "_maker", maker)
    assert opening.open_driver().library == "pycuda 1"
    assert opening.open_driver("cuda-bindings").library == "cuda-bindings 1"
    del there["pycuda"]
    assert opening.open_driver().library == "cuda-bindings 1"


def test_opening_a_model_on_a_cpu_imports_nothing_of_a_gpu(bare: Path, tmp_path: Path) -> None:
    """In a fresh interpreter: neither the packages, nor this project's own files for them."""
    from helpers.models import write_echo_model

    model = write_echo_model(tmp_path / "echo.onnx")
    code = (
        "import os, sys\n"
        "os.environ['CUDA_VISIBLE_DEVICES'] = ''\n"
        "from calanddet.runtime import open_model\n"
        f"open_model({str(model)!r}).close()\n"
        "print(*sys.modules)\n"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & {"tensorrt", "tensorrt_rtx", "pycuda", "cuda", "torch"}
    own = {"cuda.device", "engines.gpu", "engines.ring", "engines.tensorrt", "engines.ort_gpu", "engines.planned"}
    assert not set(loaded) & {f"calanddet.runtime.{name}" for name in own}
