"""A network for rings of slots that needs no library: min(red, 254), as `models.write_echo_model` has it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from calanddet.runtime.cuda.streams import Stream
from calanddet.runtime.engines.gpu import GpuEngine
from calanddet.runtime.engines.network import Addresses
from calanddet.runtime.engines.protocol import EngineInfo
from calanddet.runtime.errors import EngineError
from calanddet.runtime.spec import ModelSpec
from calanddet.runtime.types import Bytes
from helpers.numbers import random_rgb
from helpers.software_cuda import SoftwareCuda

__all__ = ["TILE", "EchoNetwork", "batches_of", "check_echo", "echo_engine", "echo_kernel"]

TILE = 32


@dataclass(slots=True, eq=False)
class EchoNetwork:
    """See Network; refuses: batches, counted from 0, that it refuses to enqueue."""

    cuda: SoftwareCuda
    batch: int = 2
    capturable: bool = True
    note: str = ""
    refuses: frozenset[int] = frozenset()
    enqueued: int = 0
    closed: bool = False

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(name="echo", tile=TILE)

    def enqueue(self, at: Addresses, stream: Stream) -> None:
        number, self.enqueued = self.enqueued, self.enqueued + 1
        if number in self.refuses:
            raise EngineError(f"batch {number} is refused")
        self.cuda.enqueue(stream.handle, echo_kernel(self.cuda, at, (self.batch, TILE, TILE)))

    def close(self) -> None:
        self.closed = True


def echo_kernel(cuda: SoftwareCuda, at: Addresses, shape: tuple[int, int, int]) -> Callable[[], None]:
    def kernel() -> None:
        red = cuda.view(at.tiles, prod(shape) * 3).reshape(*shape, 3)[..., 0]
        cuda.view(at.probability, prod(shape)).reshape(shape)[:] = np.minimum(red, 254)
        presence = red.max(axis=(1, 2)).astype(np.float32) / np.float32(255)
        cuda.view(at.presence, 4 * shape[0])[:] = presence.view(np.uint8)

    return kernel


def echo_engine(cuda: SoftwareCuda, network: EchoNetwork | None = None) -> GpuEngine:
    made = network or EchoNetwork(cuda)
    return GpuEngine(lambda: cuda, lambda stream: made, EngineInfo("echo", "", "", "0" * 64))


def batches_of(count: int, batch: int = 2) -> list[Bytes]:
    return [np.stack([random_rgb(i * batch + j, TILE, TILE) for j in range(batch)]) for i in range(count)]


def check_echo(engine: GpuEngine, count: int, *, ahead: int = 3) -> bool:
    """Whether `count` batches, `ahead` of them in flight, all come back right."""
    batches, right = batches_of(count), True
    futures = []
    for batch in batches:
        futures.append(engine.submit(batch))
        if len(futures) > ahead:
            futures[len(futures) - ahead - 1].result()
    for batch, future in zip(batches, futures, strict=True):
        found = future.result()
        right &= bool((found.probability == np.minimum(batch[..., 0], 254)).all())
        right &= bool(np.allclose(found.presence, batch[..., 0].max(axis=(1, 2)) / 255))
    return right
