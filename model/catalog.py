"""The checkpoints that ship in the package, by name."""

from pathlib import Path

from calanddet.runtime.errors import ModelError

__all__ = ["SHIPPED", "resolve_checkpoint"]

SHIPPED = ("calanddet-edge",)
"""Names that stand for a checkpoint file inside the package, in FP16."""


def resolve_checkpoint(checkpoint: str | Path) -> Path:
    """The file of a checkpoint given by path or by a shipped name; a file of that name comes first.

    Raises ModelError where the package lacks what it should have; a path is returned as it is.
    """
    path = Path(checkpoint)
    if path.exists() or str(checkpoint) not in SHIPPED:
        return path
    shipped = Path(__file__).parent / "weights" / f"{checkpoint}.pt"
    if not shipped.exists():
        raise ModelError(f"this installation lacks the checkpoint {checkpoint}: install calanddet again")
    return shipped
