"""A checkpoint as a way to explain an image: Grad-CAM at chosen stages, and the cross attention where there is one."""

from collections.abc import Sequence
from pathlib import Path

import torch

from calanddet.model.catalog import resolve_checkpoint
from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint
from calanddet.model.device import torch_device
from calanddet.model.explanation.gradcam import ChannelWeights, Question, channel_weights, class_activation
from calanddet.model.explanation.stages import CELLS, DEFAULT_STAGE, captured, check_stages
from calanddet.model.network import TILE, CALandDet, normalise, probability_bytes
from calanddet.runtime.explanation.attention import attention_layers
from calanddet.runtime.explanation.explainer import Layer, ModelFacts, TileMaps
from calanddet.runtime.explanation.tiled import Progress, TiledImage
from calanddet.runtime.spec import threshold_byte
from calanddet.runtime.types import Bytes

__all__ = ["GradCam", "NetworkExplainer", "open_grad_cam"]

NO_ATTENTION = "the checkpoint is of a baseline without cross attention, so it has no attention maps"


class GradCam:
    """See runtime's Method: Grad-CAM of `network` at `stages`, and its attention maps."""

    tile = TILE

    def __init__(
        self,
        network: CALandDet,
        stages: Sequence[str] = (DEFAULT_STAGE,),
        *,
        threshold: float = 0.5,
        facts: ModelFacts | None = None,
    ) -> None:
        """threshold: probability from which a pixel is in question. Raises OptionError for an unknown stage."""
        threshold_byte(threshold)
        self.network, self.stages, self.threshold = network.eval(), check_stages(stages), threshold
        self.facts = facts or ModelFacts(network.config.name, "", f"PyTorch {torch.__version__}")

    def study(
        self, image: TiledImage, pixel: tuple[int, int] | None, *, batch: int, progress: Progress
    ) -> "NetworkExplainer":
        """See Method.study: one pass forward and back over all tiles, for the weights of the channels."""
        question = Question(self.threshold, pixel)
        weights = channel_weights(self.network, image, question, self.stages, batch=batch, progress=progress)
        return NetworkExplainer(self.network, weights, question, self.facts)


class NetworkExplainer:
    """See runtime's Explainer: a network with channel weights that were found for one image."""

    def __init__(self, network: CALandDet, weights: ChannelWeights, question: Question, facts: ModelFacts) -> None:
        self.facts, self.weights = facts, weights
        self._network = network
        self._stages = tuple(weights.by_stage) if weights.pixels else ()
        cams = (
            Layer(
                f"gradcam_{stage.replace('.', '_')}", f"Grad-CAM at {stage}, cells of {CELLS[stage]} px", signed=False
            )
            for stage in self._stages
        )
        crossed = network.config.cross_attention
        self.layers = (*cams, *(attention_layers() if crossed else ()))
        self.notes = (*self._asked(question), *(() if crossed else (NO_ATTENTION,)))
        self.details: dict[str, object] = {
            "score": "sum of the blended landslide logits of the pixels in question",
            "pixels": round(weights.pixels, 3),
            "score_value": weights.score,
            "threshold": question.threshold,
        }

    def _asked(self, question: Question) -> tuple[str, ...]:
        if not self._stages:
            return (
                f"no pixel reaches a probability of {question.threshold:g}, so Grad-CAM has no landslide to explain: "
                "name a pixel, or lower the threshold",
            )
        return ()

    @torch.inference_mode()
    def look(self, tiles: Bytes) -> TileMaps:
        """See Explainer.look."""
        network = self._network
        like = next(network.parameters())
        x = normalise(torch.from_numpy(tiles).to(like.device), dtype=like.dtype)
        with captured(network, self._stages) as maps:
            features = network.forward_features(x)
            logits = network.head(*network.neck(features))[:, 0]
        shown = [class_activation(maps[stage], self.weights.by_stage[stage]) for stage in self._stages]
        shown += network.neck.attention_maps(features)
        presence = torch.sigmoid(features.presence[:, 0]).float().cpu().numpy()
        found = tuple(one.float().cpu().numpy() for one in shown)
        return TileMaps(probability_bytes(logits).cpu().numpy(), presence, found)


def open_grad_cam(
    checkpoint: str | Path, stages: Sequence[str] = (), *, threshold: float = 0.5, device: str = "cpu", threads: int = 0
) -> GradCam:
    """Grad-CAM of a checkpoint, by path or by the name of a shipped one, at `stages`, or at DEFAULT_STAGE.

    threads: of torch on a CPU, for the whole process; 0 leaves them as they are. Raises ModelError for what is no
    CALandDet checkpoint, OptionError for a stage that there is not, EngineError for a device that there is not.
    """
    path = resolve_checkpoint(checkpoint)
    place = torch_device(device)
    network = load_checkpoint(path).to(place)
    if threads and place.type == "cpu":
        torch.set_num_threads(threads)
    engine = f"PyTorch {torch.__version__} on {place.type.upper() if place.type == 'cpu' else place}, fp32"
    facts = ModelFacts(network.config.name, checkpoint_sha256(path), engine)
    return GradCam(network, stages or (DEFAULT_STAGE,), threshold=threshold, facts=facts)
