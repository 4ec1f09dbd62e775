"""The models that ship in the package, by name."""

from pathlib import Path

from calanddet.runtime.errors import ModelError

__all__ = ["SHIPPED", "resolve_model"]

SHIPPED = ("calanddet-edge",)
"""Names that stand for a model file inside the package."""


def resolve_model(model: str | Path) -> Path:
    """The file of a model given by path or by a shipped name. Raises ModelError where neither is there."""
    path = Path(model)
    if path.exists() or str(model) not in SHIPPED:
        if not path.exists():
            raise ModelError(f"there is no model {model}: give an .onnx file or one of {', '.join(SHIPPED)}")
        return path
    shipped = Path(__file__).parent / "models" / f"{model}.onnx"
    if not shipped.exists():
        raise ModelError(f"this installation lacks the model {model} ({shipped} is missing): install calanddet again")
    return shipped
