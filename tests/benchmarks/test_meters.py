"""Meters against made /sys and /proc folders of each board, and a stand-in of NVML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from calanddet.benchmarks.telemetry.energy import joules
from calanddet.benchmarks.telemetry.host import HostMeter, battery_warning, peak_bytes, reset_peak
from calanddet.benchmarks.telemetry.ina3221 import Ina3221Meter
from calanddet.benchmarks.telemetry.meters import open_meters
from calanddet.benchmarks.telemetry.nvml import NvmlMeter
from calanddet.benchmarks.telemetry.protocol import MeterLost
from calanddet.benchmarks.telemetry.rapl import RaplMeter


def files(root: Path, content: Mapping[str, str | int]) -> Path:
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return root


def hwmon(number: int, rails: list[tuple[str, int, int]]) -> dict[str, str | int]:
    """An INA3221 with (label, millivolts, milliamperes) of each channel."""
    found: dict[str, str | int] = {f"sys/class/hwmon/hwmon{number}/name": "ina3221"}
    for channel, (label, volts, amperes) in enumerate(rails, 1):
        base = f"sys/class/hwmon/hwmon{number}"
        found |= {f"{base}/in{channel}_label": label, f"{base}/in{channel}_input": volts}
        found |= {f"{base}/curr{channel}_input": amperes}
    return found


def test_orin_nanos_rails(tmp_path: Path) -> None:
    rails = [("VDD_IN", 5072, 1072), ("VDD_CPU_GPU_CV", 5064, 208), ("VDD_SOC", 5064, 288)]
    root = files(tmp_path, hwmon(1, rails) | {"sys/class/hwmon/hwmon0/name": "tmp451"})
    meter = Ina3221Meter(root=root)
    assert (meter.scope, meter.total) == ("module", ("VDD_IN_w",))
    assert meter.read()["VDD_IN_w"] == pytest.approx(5.072 * 1.072)


def test_agx_orin_has_two_monitors_and_events(tmp_path: Path) -> None:
    first = hwmon(3, [("VDD_GPU_SOC", 19000, 400), ("VDD_CPU_CV", 19000, 100), ("VIN_SYS_5V0", 5000, 900)])
    second = hwmon(4, [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 240), ("NC", 0, 0)])
    root = files(tmp_path, first | second | {"sys/class/hwmon/hwmon5/oc1_event_cnt": 7})
    meter = Ina3221Meter(root=root)
    found = meter.read()
    assert sum(found[name] for name in meter.total) == pytest.approx(7.6 + 1.9 + 4.5)
    assert found["over_current_oc1_count"] == 7
    assert "NC_w" not in found


def test_thors_sums_of_shunts_are_no_rails(tmp_path: Path) -> None:
    content = hwmon(2, [("VDD_GPU", 12040, 640), ("VDD_CPU_SOC_MSS", 12040, 960), ("VIN_SYS_5V0", 5088, 1740)])
    content |= {"sys/class/hwmon/hwmon2/in7_label": "sum of shunt voltages", "sys/class/hwmon/hwmon2/in7_input": 9}
    meter = Ina3221Meter(root=files(tmp_path, content))
    assert meter.read().keys() == {"VDD_GPU_w", "VDD_CPU_SOC_MSS_w", "VIN_SYS_5V0_w"}
    assert sum(meter.read()[name] for name in meter.total) == pytest.approx(7.7056 + 11.5584 + 8.85312)


def test_jetpack_4s_rails(tmp_path: Path) -> None:
    base = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    rails = {"rail_name_0": "POM_5V_IN", "rail_name_1": "POM_5V_GPU", "rail_name_2": "POM_5V_CPU"}
    watts = {"in_power0_input": 2532, "in_power1_input": 40, "in_power2_input": 760}
    meter = Ina3221Meter(root=files(tmp_path, {f"{base}/{name}": value for name, value in (rails | watts).items()}))
    assert meter.read() == pytest.approx({"POM_5V_IN_w": 2.532, "POM_5V_GPU_w": 0.04, "POM_5V_CPU_w": 0.76})
    assert meter.total == ("POM_5V_IN_w",)


def test_rails_that_go_away_are_a_lost_meter(tmp_path: Path) -> None:
    root = files(tmp_path, hwmon(1, [("VDD_IN", 5000, 1000)]))
    meter = Ina3221Meter(root=root)
    (root / "sys/class/hwmon/hwmon1/in1_input").unlink()
    with pytest.raises(MeterLost, match="any more"):
        meter.read()
    with pytest.raises(MeterLost, match="no INA3221"):
        Ina3221Meter(root=tmp_path / "elsewhere")


def rapl(root: Path, package: int, core: int, dram: int) -> Path:
    zones = {"intel-rapl:0": ("package-0", package), "intel-rapl:0:0": ("core", core), "intel-rapl:0:1": ("dram", dram)}
    content: dict[str, str | int] = {}
    for zone, (name, microjoules) in zones.items():
        base = f"sys/class/powercap/{zone}"
        content |= {f"{base}/name": name, f"{base}/energy_uj": microjoules, f"{base}/max_energy_range_uj": 262143328850}
    return files(root, content)


def test_rapl_counts_joules_and_survives_a_wrap(tmp_path: Path) -> None:
    meter = RaplMeter(root=rapl(tmp_path, 262143000000, 1000000, 500000))
    first = meter.read()
    assert meter.total == ("package-0_j",)
    assert first["package-0.core_j"] == pytest.approx(1.0)
    rapl(tmp_path, 671150, 3000000, 600000)
    second = meter.read()
    assert second["package-0_j"] - first["package-0_j"] == pytest.approx(1.0, abs=1e-6)
    assert second["package-0.core_j"] - first["package-0.core_j"] == pytest.approx(2.0)


def test_rapl_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    root = rapl(tmp_path, 1, 1, 1)
    for file in root.glob("sys/class/powercap/*/energy_uj"):
        file.unlink()
        file.mkdir()  # cannot be read, whoever asks
    with pytest.raises(MeterLost, match="3 counters may be read by root alone"):
        RaplMeter(root=root)
    with pytest.raises(MeterLost, match="no RAPL counters"):
        RaplMeter(root=tmp_path / "elsewhere")


class StandInNvml:
    """The functions of libnvidia-ml that the meter calls, with an H100's numbers (nvidia-smi of a driver 550)."""

    def __init__(self) -> None:
        self.numbers = {
            "nvmlDeviceGetPowerUsage": 327_415,
            "nvmlDeviceGetTotalEnergyConsumption": 5_123_456_789,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4 | 0x1,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        }
        self.codes: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*words: Any) -> int:
            if self.codes.get(name, self.codes.get("*", 0)):
                return self.codes.get(name, self.codes.get("*", 0))
            target: Any = getattr(words[-1], "_obj", None)
            if name in self.numbers:
                target.value = self.numbers[name]
            elif name == "nvmlDeviceGetClockInfo":
                target.value = {1: 1755, 2: 2619}[words[1]]
            elif name == "nvmlDeviceGetMemoryInfo":
                target.total, target.free, target.used = 85_520_809_984, 60_000_000_000, 25_520_809_984
            elif name == "nvmlDeviceGetCount_v2":
                target.value = 1
            elif name == "nvmlDeviceGetName":
                words[-2].value = b"NVIDIA H100 80GB HBM3"
            elif name == "nvmlSystemGetDriverVersion":
                words[-2].value = b"550.90.07"
            return 0

        return call


def test_nvml_reads_power_energy_clocks_memory_and_throttling() -> None:
    meter = NvmlMeter(StandInNvml())
    assert meter.total == ("gpu0_j",)
    assert meter.read() == pytest.approx(
        {
            "gpu0_w": 327.415,
            "gpu0_j": 5_123_456.789,
            "gpu0_c": 61.0,
            "gpu0_mhz": 1755.0,
            "gpu0_memory_mhz": 2619.0,
            "gpu0_used_bytes": 25_520_809_984.0,
            "gpu0_throttled_by_power_cap_count": 1.0,
        }
    )
    facts = meter.facts()
    assert facts["gpu"] == "NVIDIA H100 80GB HBM3"
    assert facts["driver"] == "550.90.07"
    assert facts["gpu_power_limit"] == "700 W"
    assert facts["gpu_memory"] == "79.6 GiB"


def test_what_a_gpu_does_not_support_is_left_out() -> None:
    library = StandInNvml()
    library.codes = {"nvmlDeviceGetTotalEnergyConsumption": 3, "nvmlDeviceGetMemoryInfo": 3}
    meter = NvmlMeter(library)
    assert meter.total == ("gpu0_w",)
    assert "gpu0_used_bytes" not in meter.read()


def test_a_gpu_that_disappears_is_said() -> None:
    library = StandInNvml()
    meter = NvmlMeter(library)
    library.codes = {"*": 15}
    with pytest.raises(MeterLost, match="fell off the bus"):
        meter.read()
    assert NvmlMeter.count(library) == 0


def test_the_host_tells_memory_clocks_and_heat(tmp_path: Path) -> None:
    content: dict[str, str | int] = {
        "proc/self/status": "Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1510400,
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": 729600,
        "sys/class/thermal/thermal_zone0/type": "tj-thermal",
        "sys/class/thermal/thermal_zone0/temp": 52500,
        "sys/class/thermal/cooling_device3/type": "gpu-throttle-alert",
        "sys/class/thermal/cooling_device3/cur_state": 1,
        "sys/class/thermal/cooling_device4/type": "pwm-fan",
        "sys/class/thermal/cooling_device4/cur_state": 2,
    }
    root = files(tmp_path, content)
    assert HostMeter(root=root).read() == {
        "resident_bytes": 102400 * 1024,
        "cpu0_mhz": 1510.4,
        "cpu1_mhz": 729.6,
        "tj_c": 52.5,
        "gpu-throttle-alert_count": 1.0,
    }
    assert peak_bytes(root=root) == 204800 * 1024
    with pytest.raises(MeterLost, match="/proc/self/status"):
        HostMeter(root=tmp_path / "elsewhere")


def test_the_peak_of_this_very_process_starts_anew() -> None:
    if not reset_peak():
        pytest.skip("this system does not let the peak be reset")
    before = peak_bytes()
    ballast = bytearray(64 * 2**20)
    after = peak_bytes()
    assert before is not None
    assert after is not None
    assert after - before >= 0.9 * len(ballast)
    del ballast
    assert reset_peak()
    assert (peak_bytes() or 0) < after


@pytest.mark.parametrize(
    ("kind", "scope", "status", "capacity", "warned"),
    [
        ("Battery", "", "Discharging", 80, True),
        ("Battery", "", "Charging", 12, True),
        ("Battery", "", "Full", 100, False),
        ("Battery", "Device", "Discharging", 40, False),
        ("Mains", "", "", 0, False),
    ],
)
def test_a_battery_is_warned_of(
    tmp_path: Path, kind: str, scope: str, status: str, capacity: int, warned: bool
) -> None:
    base = "sys/class/power_supply/BAT0"
    content: dict[str, str | int] = {"type": kind, "scope": scope, "status": status, "capacity": capacity}
    root = files(tmp_path, {f"{base}/{name}": value for name, value in content.items()})
    assert bool(battery_warning(root=root)) is warned
    if warned:
        assert f"{capacity} % left" in battery_warning(root=root)
    assert battery_warning(root=tmp_path / "elsewhere") == ""


def test_a_machine_without_meters_says_why(tmp_path: Path) -> None:
    meters, missing = open_meters(root=tmp_path)
    assert not [meter for meter in meters if meter.name != "NVML"]
    assert [sentence.split(":")[0] for sentence in missing][:3] == ["host", "INA3221", "tegrastats"]


def test_watts_are_integrated_by_trapezoids() -> None:
    ramp = [(t / 10, 5.0 + t / 10) for t in range(101)]  # 5 W rising by 1 W a second
    assert joules({"a_w": ramp}, ["a_w"], 2.0, 8.0) == pytest.approx(6.0 * 10.0)
    two = {"a_w": ramp, "b_w": [(1.0, 2.0), (9.0, 2.0)]}
    assert joules(two, ["a_w", "b_w"], 2.0, 8.0) == pytest.approx(72.0)
    assert joules(two, ["a_w"], 4.03, 4.06) == pytest.approx(0.03 * 9.045)  # between two readings
    assert joules(two, ["b_w"], 0.1, 9.9) == pytest.approx(19.6)
    assert joules(two, ["b_w"], 0.1, 10.1) is None
    assert joules({"a_w": ramp}, ["a_w", "b_w"], 2.0, 8.0) is None
    assert joules({"a_w": ramp}, ["a_w"], 20.0, 21.0) is None
    assert joules({}, [], 0.0, 1.0) is None


def test_counters_give_their_difference() -> None:
    counter = [(t / 10, 1000.0 + 3.0 * t / 10) for t in range(101)]
    assert joules({"a_j": counter}, ["a_j"], 2.03, 7.97) == pytest.approx(3.0 * 5.94)
    assert joules({"a_j": counter}, ["a_j"], 50.0, 51.0) is None
    assert joules({"a_j": counter[:1]}, ["a_j"], 0.0, 1.0) is None
