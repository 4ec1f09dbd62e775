"""What kind of ONNX to make of a checkpoint."""

from dataclasses import dataclass
from typing import Literal, get_args

from calanddet.runtime.errors import OptionError

__all__ = ["DEFAULTS", "ExportOptions", "Outputs", "Precision", "Storage"]

Precision = Literal["fp32", "fp16"]
Storage = Literal["same", "fp16"]
Outputs = Literal["probability", "logits", "deepness"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """precision: of the arithmetic; storage: of the weights in the file; outputs: see `export.borders`.

    attention: let the cross attentions' maps leave the model too, for `calanddet explain`; engines that map pass over
    them.

    "fp16" storage with "fp32" precision halves the file and runs as fast as float32, since engines widen the weights
    when they load it; it costs their rounding to 11 bits. Raises OptionError for another word, and for attention with
    "deepness", whose plugin takes one output.
    """

    precision: Precision = "fp32"
    outputs: Outputs = "probability"
    storage: Storage = "same"
    attention: bool = False

    def __post_init__(self) -> None:
        for field, known in (("precision", Precision), ("outputs", Outputs), ("storage", Storage)):
            if getattr(self, field) not in get_args(known):
                raise OptionError(f"{field} is one of {', '.join(get_args(known))}, not {getattr(self, field)!r}")
        if self.attention and self.outputs == "deepness":
            raise OptionError(
                "Deepness takes one output: export the attention maps with other outputs, to another file"
            )

    @property
    def half_storage(self) -> bool:
        """Whether float32 weights are kept as float16."""
        return self.storage == "fp16" and self.precision == "fp32"


DEFAULTS = ExportOptions()
"""float32 throughout, probability bytes and presence out: what the stream runs."""
