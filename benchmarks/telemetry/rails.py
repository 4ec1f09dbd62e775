"""Which of a Jetson's rails add up to what the board or module takes."""

from collections.abc import Collection

__all__ = ["total_rails"]

TOTALS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # The input of the whole board or module comes first, then what parts sum to, as NVIDIA's developer guide has it.
    ("board", ("VIN",)),  # AGX Thor
    ("module", ("VDD_IN",)),  # TX1, TX2, Xavier NX, Orin NX, Orin Nano
    ("module", ("POM_5V_IN",)),  # Nano
    ("module", ("5V_IN",)),
    ("module", ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")),  # AGX Orin
    ("module", ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")),  # AGX Thor without VIN
    ("module", ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")),  # AGX Xavier
)


def total_rails(rails: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """(scope, names of the rails whose sum it is); ("", ()) for rails of a board that is not known."""
    for scope, names in TOTALS:
        if all(name in rails for name in names):
            return scope, names
    return "", ()
