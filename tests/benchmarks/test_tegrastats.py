"""Lines of tegrastats as boards print them.

Nano, TX1, TX2, AGX Xavier: as recorded in the tests of Datadog's agent (Apache-2.0, 2020); Thor: NVIDIA's own test of
a tegrastats exporter (Apache-2.0, 2026); Orin: from NVIDIA's developer guide for r36, "tegrastats Utility", with
values of the forums.
"""

import sys
import time
from pathlib import Path

import pytest

from calanddet.benchmarks.telemetry.protocol import MeterLost
from calanddet.benchmarks.telemetry.rails import total_rails
from calanddet.benchmarks.telemetry.tegrastats import TegrastatsMeter, parse_line

NANO = (
    "RAM 613/3964MB (lfb 634x4MB) SWAP 0/1982MB (cached 0MB) CPU [2%@102,1%@102,0%@102,0%@102] EMC_FREQ 0% "
    "GR3D_FREQ 0% PLL@39C CPU@40.5C PMIC@100C GPU@41C AO@46C thermal@41C POM_5V_IN 900/943 POM_5V_GPU 0/0 "
    "POM_5V_CPU 123/123"
)
TX1 = (
    "RAM 1179/3983MB (lfb 120x4MB) IRAM 0/252kB(lfb 252kB) CPU [1%@102,4%@102,0%@102,0%@102] EMC_FREQ 7%@408 "
    "GR3D_FREQ 0%@76 APE 25 AO@42.5C CPU@37.5C GPU@39C PLL@37C Tdiode@42.75C PMIC@100C Tboard@42C thermal@38.5C "
    "VDD_IN 2532/2698 VDD_CPU 76/178 VDD_GPU 19/19"
)
TX2 = (
    "RAM 1345/7829MB (lfb 1290x4MB) SWAP 0/512MB (cached 0MB) CPU [2%@345,off,off,off,off,off] EMC_FREQ 13%@40 "
    "GR3D_FREQ 0%@114 APE 150 BCPU@35C MCPU@35C GPU@41C PLL@35C AO@35.5C Tboard@35C Tdiode@36C PMIC@100C "
    "thermal@35.5C VDD_IN 2003/2658 VDD_CPU 320/518 VDD_GPU 400/735 VDD_SOC 400/415 VDD_WIFI 0/0 VDD_DDR 240/348"
)
XAVIER = (
    "RAM 1903/15692MB (lfb 3251x4MB) CPU [1%@1190,1%@1190,2%@1190,0%@1190,0%@1190,0%@1190,0%@1190,0%@1190] "
    "EMC_FREQ 0% GR3D_FREQ 0% AO@32.5C GPU@32C Tboard@32C Tdiode@34.75C AUX@31.5C CPU@33.5C thermal@32.9C PMIC@100C "
    "GPU 0/0 CPU 216/216 SOC 864/864 CV 0/0 VDDRQ 144/144 SYS5V 1889/1889"
)
ORIN_NANO = (
    "11-14-2024 12:34:56 RAM 4123/7620MB (lfb 4x1MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [34%@1510,28%@1510,12%@1510,9%@1510,off,off] EMC_FREQ 21%@2133 GR3D_FREQ 99%@[611] NVDEC off NVJPG off "
    "VIC off OFA off APE 200 cpu@51.531C soc2@50.468C soc0@49.968C gpu@52.5C tj@52.5C soc1@50.718C CV0@-256C "
    "VDD_IN 8912mW/7421mW VDD_CPU_GPU_CV 3201mW/2950mW VDD_SOC 1478mW/1318mW"
)
AGX_ORIN = (
    "11-14-2024 12:34:57 RAM 5848/62801MB (lfb 6x4MB) SWAP 0/31400MB (cached 0MB) "
    "CPU [0%@1728,0%@1728,3%@1728,0%@1728,1%@729,off,off,off,off,off,off,off] EMC_FREQ 0%@3199 "
    "GR3D_FREQ 76%@[1300,1296] VIC off APE 174 cpu@47.968C tboard@37.5C soc2@45.9C tdiode@38.75C soc0@46.906C "
    "gpu@46.343C tj@47.968C soc1@46.1C VDD_GPU_SOC 12656mW/9176mW VDD_CPU_CV 1667mW/1384mW VIN_SYS_5V0 7510mW/6900mW "
    "VDDQ_VDD2_1V8AO 1811mW/1207mW"
)
THOR = (
    "07-31-2026 14:45:55 RAM 86905/125772MB (lfb 368x4MB) CPU [12%@972,10%@972,off,33%@1890] cpu@39.812C tj@39.906C "
    "soc012@38.812C gpu@39.906C soc345@38.625C VDD_GPU 3561mW/3561mW VDD_CPU_SOC_MSS 7910mW/7910mW "
    "VIN_SYS_5V0 7620mW/7620mW VIN 26686mW/26686mW"
)


@pytest.mark.parametrize(
    ("line", "scope", "watts"),
    [
        (NANO, "module", 0.900),
        (TX1, "module", 2.532),
        (TX2, "module", 2.003),
        (XAVIER, "module", 0.216 + 0.864 + 0.144 + 1.889),
        (ORIN_NANO, "module", 8.912),
        (AGX_ORIN, "module", 12.656 + 1.667 + 7.510),
        (THOR, "board", 26.686),
    ],
    ids=["nano", "tx1", "tx2", "agx-xavier", "orin-nano", "agx-orin", "agx-thor"],
)
def test_the_power_of_every_board_is_momentary_and_counted_once(line: str, scope: str, watts: float) -> None:
    found = parse_line(line)
    said, names = total_rails([name.removesuffix("_w") for name in found if name.endswith("_w")])
    assert said == scope
    assert sum(found[f"{name}_w"] for name in names) == pytest.approx(watts)


def test_memory_clocks_loads_and_heat_are_read() -> None:
    found = parse_line(AGX_ORIN)
    assert found["ram_used_bytes"] == 5848 * 2**20
    assert found["gpu_mhz"] == 1300.0
    assert found["gpu_pct"] == 76.0
    assert found["emc_mhz"] == 3199.0
    assert (found["cpu0_mhz"], found["cpu4_mhz"]) == (1728.0, 729.0)
    assert "cpu5_mhz" not in found  # it is off
    assert found["tj_c"] == 47.968


def test_what_is_no_reading_is_left_out() -> None:
    found = parse_line(ORIN_NANO)
    assert "cv0_c" not in found  # -256: the sensor is off
    assert parse_line(NANO).keys() & {"pmic_c", "RAM_w", "SWAP_w"} == set()
    assert parse_line(TX1).keys() & {"IRAM_w"} == set()
    assert parse_line("") == {}
    assert parse_line("tegrastats: command failed, see the manual") == {}


def fake(tmp_path: Path, body: str) -> Path:
    script = tmp_path / "tegrastats"
    script.write_text(f"#!{sys.executable}\nimport sys, time\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def test_a_running_tegrastats_is_followed_and_ended(tmp_path: Path) -> None:
    lines = [AGX_ORIN, AGX_ORIN.replace("12656mW", "20000mW")]
    body = f"assert sys.argv[1:] == ['--interval', '50']\nfor line in {lines!r}:\n    print(line, flush=True)\n"
    meter = TegrastatsMeter(command=str(fake(tmp_path, body + "time.sleep(60)")), interval_s=0.05)
    try:
        assert (meter.scope, len(meter.total)) == ("module", 3)
        end = time.monotonic() + 5
        while meter.read()["VDD_GPU_SOC_w"] != 20.0:
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        meter.close()
        meter.close()


def test_a_tegrastats_that_ends_is_lost(tmp_path: Path) -> None:
    meter = TegrastatsMeter(command=str(fake(tmp_path, f"print({TX2!r}, flush=True); sys.exit(3)")))
    end = time.monotonic() + 5
    with pytest.raises(MeterLost, match="code 3"):  # noqa: PT012
        while time.monotonic() < end:
            meter.read()
            time.sleep(0.01)
    meter.close()


def test_a_machine_without_tegrastats_says_so(tmp_path: Path) -> None:
    with pytest.raises(MeterLost, match="no nonsense-stats"):
        TegrastatsMeter(command="nonsense-stats")
    with pytest.raises(MeterLost, match="no line that can be read"):
        TegrastatsMeter(command=str(fake(tmp_path, "print('unknown option')")))
