"""The models that ship in the package, by name."""

from pathlib import Path

from calanddet.runtime.errors import ModelError

__all__ = ["SHIPPED", "resolve_model"]

SHIPPED = ("calanddet-edge",)
"""Names that stand for a model file inside the package."""


def resolve_model(model: str | Path) -> Path:
    """The file of a model given by path or by a shipped name. Raises ModelError where neither is there."""
    path = Path(model)
    try:
        there, is_file = path.exists(), path.is_file()
    except OSError as error:
        raise ModelError(f"the model {model} cannot be read: {error.strerror}") from error
    if is_file or (there and str(model) not in SHIPPED):  # a folder of a shipped name is no model
        return path
    if str(model) not in SHIPPED:
        raise ModelError(f"there is no model {model}: give an .onnx file or one of {', '.join(SHIPPED)}")
    shipped = Path(__file__).parent / "models" / f"{model}.onnx"
    if not shipped.exists():
        raise ModelError(f"this installation lacks the model {model} ({shipped} is missing): install calanddet again")
    return shipped
