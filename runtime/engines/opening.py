"""From a model file to an engine: which backend, and why not a faster one."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from calanddet.runtime.cuda.presence import why_no_gpu
from calanddet.runtime.engines.protocol import Engine
from calanddet.runtime.errors import CalanddetError, EngineError, MissingDependency, OptionError
from calanddet.runtime.plans.builder import PlanBuilder

__all__ = ["PLAN_SUFFIXES", "EngineOptions", "open_engine"]

_log = logging.getLogger(__name__)

PLAN_SUFFIXES = frozenset((".plan", ".engine"))
LONGEST_REASON = 160

Attempt: TypeAlias = tuple[str, Callable[[str], Engine]]
"""What is tried, in the user's words, and how: takes the reason for EngineInfo."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """name: "auto", "tensorrt", "rtx", "cuda", "cpu" or another ONNX Runtime provider ("openvino", ...);

    batch: tiles in a batch; threads: of a CPU, 0 takes every core; lanes: of these, how many have tiles of their own,
    the others helping with single operators. 0 gives every thread tiles as far as a batch has two for each; 1 computes
    a batch as one.
    """

    name: str = "auto"
    batch: int = 8
    threads: int = 0
    lanes: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 1024:
            raise OptionError(f"a batch is 1 to 1024 tiles, not {self.batch}")
        if not 0 <= self.threads <= 1024:
            raise OptionError(f"threads are 1 to 1024, or 0 for every core, not {self.threads}")
        if not 0 <= self.lanes <= 1024:
            raise OptionError(f"lanes are 1 to 1024, or 0 for as many as there are threads, not {self.lanes}")


def open_engine(path: Path, options: EngineOptions = EngineOptions(), *, build: PlanBuilder | None = None) -> Engine:
    """The engine for the model at `path`, an ONNX or a TensorRT plan.

    build: makes a plan of an ONNX where TensorRT wants one. "auto" takes the first that works of: the plan, TensorRT,
    TensorRT-RTX, ONNX Runtime's CUDA provider, the CPU; EngineInfo.reason says why not those before it. Nothing of a
    GPU is imported where there is none. Raises ModelError, EngineError or MissingDependency with the reason.
    """
    engine = _Choice(path, options, build).open()
    _log.info("%s runs with %s", path.name, engine.info)
    return engine


@dataclass(frozen=True, slots=True)
class _Choice:
    path: Path
    options: EngineOptions
    build: PlanBuilder | None

    def open(self) -> Engine:
        name = self.options.name.lower()
        if self.path.suffix.lower() in PLAN_SUFFIXES:
            return self._plan_given(name)
        if name in ("tensorrt", "rtx"):
            return self._planned(name, "")
        if name == "cuda":
            return self._cuda("")
        if name != "auto":
            return self._ort(name, "")
        return self._auto()

    def _plan_given(self, name: str) -> Engine:
        if name not in ("auto", "tensorrt", "rtx"):
            raise EngineError(
                f"{self.path} is a TensorRT plan, which --engine {name} does not run: give it the .onnx file"
            )
        if (why := why_no_gpu()) is not None:
            raise EngineError(f"{self.path} is a TensorRT plan, which cannot run here ({why}): give run the .onnx file")
        return self._plan(self.path, "")

    def _auto(self) -> Engine:
        if (why := why_no_gpu()) is not None:
            return self._ort("cpu", why)
        reasons: list[str] = []
        for what, attempt in self._attempts():
            try:
                return attempt("; ".join(reasons))
            except CalanddetError as error:
                reasons.append(f"not {what}: {_short(error)}")
                _log.debug("%s", reasons[-1], exc_info=error)
        reason = "; ".join(reasons)
        _log.warning("there is a GPU, but the CPU is used: %s", reason)
        return self._ort("cpu", reason)

    def _attempts(self) -> Iterator[Attempt]:
        from calanddet.runtime.engines.planned import fitting_plan

        if (plan := fitting_plan(self.path)) is not None:
            yield plan.name, lambda reason: self._plan(plan, reason)
        yield "TensorRT", lambda reason: self._native("tensorrt", reason)
        yield "TensorRT-RTX", lambda reason: self._native("rtx", reason)
        yield "the CUDA provider", self._cuda

    def _plan(self, plan: Path, reason: str) -> Engine:
        from calanddet.runtime.engines.planned import open_plan

        return open_plan(plan, batch=self.options.batch, build=self.build, reason=reason)

    def _native(self, flavour: str, reason: str) -> Engine:
        from calanddet.runtime.engines.planned import open_onnx

        return open_onnx(self.path, flavour=flavour, batch=self.options.batch, build=self.build, reason=reason)

    def _planned(self, flavour: str, reason: str) -> Engine:
        """TensorRT itself where it is installed; else, behind the same name, ONNX Runtime's provider for it."""
        from calanddet.runtime.engines.ort_gpu import TENSORRT, open_ort_gpu
        from calanddet.runtime.engines.ort_session import providers

        try:
            return self._native(flavour, reason)
        except MissingDependency as error:
            if flavour != "tensorrt" or TENSORRT not in providers():
                raise
            _log.warning("ONNX Runtime's TensorRT provider is used: %s", _short(error))
            return open_ort_gpu(
                self.path, TENSORRT, batch=self.options.batch, reason=f"not TensorRT itself: {_short(error)}"
            )

    def _cuda(self, reason: str) -> Engine:
        from calanddet.runtime.engines.ort_gpu import CUDA, open_ort_gpu

        return open_ort_gpu(self.path, CUDA, batch=self.options.batch, reason=reason)

    def _ort(self, provider: str, reason: str) -> Engine:
        from calanddet.runtime.engines.ort import OrtEngine, OrtOptions

        wanted = self.options
        asked = OrtOptions(provider=provider, threads=wanted.threads, batch=wanted.batch, lanes=wanted.lanes)
        return OrtEngine(self.path, asked, reason=reason)


def _short(error: Exception) -> str:
    """The message without its advice: one line among several reasons."""
    text = str(error).split(": ", 1)[0] if len(str(error)) > LONGEST_REASON else str(error)
    return text[:LONGEST_REASON]
