"""A ring of slots on one of the real Python packages over a stand-in for libcuda: run by itself, prints JSON.

python -m helpers.driver_trial pycuda|cuda-bindings
"""

import ctypes
import json
import sys
from typing import Any

import numpy as np

from calanddet.runtime.cuda.device import Device
from calanddet.runtime.cuda.opening import _maker
from calanddet.runtime.cuda.protocol import Driver
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.lanes import Lanes
from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.engines.slots import CopiedMemory
from calanddet.runtime.errors import EngineError
from helpers.echo_network import TILE, batches_of
from helpers.kernels import KernelNetwork

LIBRARY = ctypes.CDLL("libcuda.so.1")


def engine_on(driver: Driver) -> GpuEngine:
    return GpuEngine(lambda: driver, lambda stream: KernelNetwork(tile=TILE), EngineInfo(driver.library, "", "", ""))


def right(engine: GpuEngine, count: int) -> bool:
    results = [engine.submit(batch) for batch in batches_of(count)]
    wanted = [np.minimum(batch[..., 0], 254) for batch in batches_of(count)]
    return all((result.result().probability == made).all() for result, made in zip(results, wanted, strict=True))


def copied(driver: Driver) -> bool:
    """The same with copies, as on a GPU behind a bus; the stand-in's is an integrated one."""
    with Device(driver) as device, device.stream() as compute:
        network = KernelNetwork(tile=TILE)
        lanes = Lanes(device, compute, network, memory=CopiedMemory())
        (batch,) = batches_of(1)
        lanes.launch(lanes.slots[0], batch)
        found = lanes.land(lanes.slots[0]).probability
        lanes.close()
        network.close()
    return bool((found == np.minimum(batch[..., 0], 254)).all())


def failure(driver: Driver, call: str, code: int) -> str:
    LIBRARY.standin_fail(call.encode(), code)
    try:
        engine_on(driver).close()
    except EngineError as error:
        return str(error)
    finally:
        LIBRARY.standin_fail(b"", 0)
    return "nothing was raised"


def main(name: str) -> dict[str, Any]:
    make = _maker(name)
    driver = make(0)
    facts = driver.facts()
    engine, second = engine_on(driver), engine_on(make(0))
    engine.legs()  # from here on, batches are timed
    said: dict[str, Any] = {
        "library": driver.library,
        "facts": [facts.name, *facts.compute_capability, facts.sm_count, facts.memory, facts.integrated],
        "more": [facts.copy_engines, facts.cuda],
        "right": right(engine, 7) and right(second, 7),
        "launches": LIBRARY.standin_launches(),
    }
    legs = engine.legs()
    said["times"] = len(legs)
    said["ordered"] = all(min(leg) >= 0.0 for leg in legs)
    engine.close()
    said["second"] = right(second, 3)
    second.close()
    said["copied"] = copied(make(0))
    with Device(make(0)) as device:
        said["free"] = device.free_memory()
    said["alive"] = LIBRARY.standin_alive()
    said["short"] = failure(make(0), "cuMemHostAlloc", 2)
    said["broken"] = failure(make(0), "cuStreamWaitEvent", 700)
    said["alive after failures"] = LIBRARY.standin_alive()
    try:
        make(3)
    except EngineError as error:
        said["absent"] = str(error)
    return said


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
