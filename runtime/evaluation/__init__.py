"""How good a model is: any engine, through the product's own stream, against image and mask pairs.

from calanddet.runtime.evaluation import evaluate, pair_samples

with open_model("calanddet-edge") as model:
    evaluation = evaluate(model, pair_samples(find_pairs(folder)))
evaluation.overall().counts.iou
"""

from calanddet.runtime.evaluation.evaluation import Evaluation, Figures, ImageScore
from calanddet.runtime.evaluation.histogram import Curve, Histogram, OperatingPoint
from calanddet.runtime.evaluation.judge import EvaluationOptions, evaluate
from calanddet.runtime.evaluation.samples import Sample, Samples, pair_samples, scene_samples
from calanddet.runtime.evaluation.views import ViewsEngine

__all__ = [
    "Curve",
    "Evaluation",
    "EvaluationOptions",
    "Figures",
    "Histogram",
    "ImageScore",
    "OperatingPoint",
    "Sample",
    "Samples",
    "ViewsEngine",
    "evaluate",
    "pair_samples",
    "scene_samples",
]
