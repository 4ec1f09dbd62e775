"""Cross-attention maps from an ONNX that gives them, through ONNX Runtime: no gradients, no PyTorch."""

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnxruntime as ort

from calanddet.runtime.catalog import resolve_model
from calanddet.runtime.engines.ort import usable_cores
from calanddet.runtime.engines.ort_session import CPU, OnnxModel, check_contract, open_session, session_spec
from calanddet.runtime.errors import EngineError, ModelError
from calanddet.runtime.explanation.explainer import Layer, ModelFacts, TileMaps
from calanddet.runtime.explanation.tiled import Progress, TiledImage
from calanddet.runtime.spec import ATTENTION_OUTPUTS
from calanddet.runtime.types import Bytes

__all__ = ["AttentionModel", "attention_layers"]

NEEDS_CHECKPOINT = "Grad-CAM needs gradients, which an ONNX does not give: explain the checkpoint to see it"

_CONTRACT = ("probability", "presence")


def attention_layers() -> tuple[Layer, ...]:
    """The gain of the neck's three cross attentions, from coarse to fine."""
    return tuple(
        Layer(name, f"cross attention, neck {stage}, cells of {16 >> stage} px", signed=True)
        for stage, name in enumerate(ATTENTION_OUTPUTS)
    )


class AttentionModel:
    """An ONNX with attention outputs; a context manager that closes it."""

    def __init__(self, model: str | Path, *, threads: int = 0) -> None:
        """Open a file or a shipped model on `threads` CPU threads, 0 for every core.

        Raises ModelError where it is none, or has no attention outputs.
        """
        path = resolve_model(model)
        read = OnnxModel.read(path)
        threads = threads or usable_cores()
        self._session: Any = open_session(read, [(CPU, {})], threads=threads)
        spec = session_spec(path, self._session)
        check_contract(path, self._session, spec.tile)
        if len(self._session.get_outputs()) == len(_CONTRACT):
            raise ModelError(
                f"{path} does not give attention maps: explain the checkpoint, or export it again with "
                "`calanddet export --attention`"
            )
        self.tile = spec.tile
        engine = f"ONNX Runtime {ort.__version__} on CPU ({threads} threads), {spec.precision}"
        self.facts = ModelFacts(spec.name, read.sha256, engine)
        self.layers = attention_layers()
        self.notes = (NEEDS_CHECKPOINT,)
        self.details: dict[str, object] = {}
        self._batch = 1

    def study(
        self, image: TiledImage, pixel: tuple[int, int] | None, *, batch: int, progress: Progress
    ) -> "AttentionModel":
        """See Method.study; attention does not depend on what is asked. Groups of tiles are filled up to `batch`."""
        del image, pixel, progress
        self._batch = batch
        return self

    def look(self, tiles: Bytes) -> TileMaps:
        """See Explainer.look; as in the stream, a batch that is not full is filled with black tiles.

        So a tile's bytes are those of the map: ONNX Runtime's last bits depend on the size of a batch.
        """
        count = len(tiles)
        full = np.zeros((-(-count // self._batch) * self._batch, *tiles.shape[1:]), np.uint8)
        full[:count] = tiles
        try:
            found = self._session.run([*_CONTRACT, *ATTENTION_OUTPUTS], {"tiles": full})
        except Exception as error:  # ONNX Runtime's exceptions have no common root
            raise EngineError(f"ONNX Runtime failed on {len(full)} tiles: {error}") from error
        probability, presence, *maps = (output[:count] for output in found)
        return TileMaps(probability, presence, tuple(maps))

    def close(self) -> None:
        """Release the model; idempotent."""
        self._session = None

    def __enter__(self) -> "AttentionModel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
