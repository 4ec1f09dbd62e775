"""The training loop: resumable after any interruption, with the log that an undisturbed run would have written."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from calanddet.model.chart import draw_curves
from calanddet.model.checkpoint import save_checkpoint
from calanddet.model.data import Batches, Corpus, batches_from
from calanddet.model.device import cpu_threads, reproducible, torch_device
from calanddet.model.ema import MovingAverage
from calanddet.model.loss import Loss, distillation, segmentation_and_presence
from calanddet.model.network import TILE, CALandDet, NetworkConfig, normalise
from calanddet.model.optimizer import Optimizer
from calanddet.model.recipe import Recipe
from calanddet.model.record import History, Origin, write_record
from calanddet.model.runlog import Progress, RunLog, figures
from calanddet.model.start import begin_scaled
from calanddet.model.validation import validate
from calanddet.runtime.errors import ModelError, OptionError, OutputError
from calanddet.runtime.evaluation import Sample
from calanddet.runtime.interrupt import Interruption, deferred
from calanddet.runtime.replace import clear_partials, replaced
from calanddet.runtime.sinks.lock import RunLock

__all__ = ["BEST", "CURVES", "LAST", "LOG", "RECORD", "STATE", "Plan", "Trainer"]

_log = logging.getLogger(__name__)

BEST, LAST, STATE, LOG, CURVES = "best.pt", "last.pt", "state.pt", "log.csv", "curves.png"
"""What a run leaves in its folder: the averages of the best validation and of the last save, what it resumes from, the
log and its picture."""
RECORD = "recipe.json"
"""What makes the run again; see record.py."""
_FILES = (BEST, LAST, STATE, LOG, CURVES, RECORD)
_LOCK = ".train.lock"
_STATE_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a run writes, and after how many steps each: a line of the log, the state, a validation.

    workers: processes that make batches ahead; 0 makes them in the training process. None of it changes the weights.
    """

    out: Path
    log_steps: int = 25
    save_steps: int = 100
    validate_steps: int = 250
    workers: int = 1

    def __post_init__(self) -> None:
        if min(self.log_steps, self.save_steps, self.validate_steps) < 1 or self.workers < 0:
            raise OptionError(
                f"steps between lines {self.log_steps}, saves {self.save_steps} and validations {self.validate_steps} "
                f"must be positive, and workers {self.workers} not negative"
            )


class Trainer:
    """One run: the network, its average, its optimizer, and the step they are at.

    best is the highest pooled IoU so far (see Score.judged); seconds is the time spent, over all sessions of the run;
    origin tells what was asked for, and goes into the record. Raises EngineError when `device` is no CPU or GPU that
    torch sees.
    """

    def __init__(
        self, config: NetworkConfig, recipe: Recipe, plan: Plan, *, device: str = "cpu", origin: Origin | None = None
    ) -> None:
        self.recipe, self.plan, self.device = recipe, plan, torch_device(device)
        self.origin = Origin() if origin is None else origin
        self.history: History = [{"step": 0, "command": self.origin.command, "changes": []}]
        torch.manual_seed(recipe.seed)
        self.network = CALandDet(config).to(self.device).train()
        if recipe.scaled_start:
            begin_scaled(self.network)
        self.average = MovingAverage(self.network, recipe.ema)
        self.optimizer = Optimizer(self.network, recipe)
        self.teacher: nn.Module | None = None
        self.step = 0
        self.seconds = 0.0
        self.best = -1.0
        self._pending: list[tuple[float, ...]] = []

    def teach(self, teacher: CALandDet) -> None:
        """Learn from `teacher` too: its probabilities on every batch join the loss with the weight `loss.distil`."""
        self.teacher = teacher.to(self.device).eval().requires_grad_(False)

    def restart_average(self) -> None:
        """Begin the average at the network's present weights, after a transfer into it."""
        self.average = MovingAverage(self.network, self.recipe.ema)

    def resume(self) -> bool:
        """Continue from the state in the run's folder; False where there is none.

        A changed recipe or input is said, obeyed from here on and put on record. A state of a CPU goes on on a GPU and
        the reverse. Raises OutputError when the state is of another network or cannot be read.
        """
        file = self.plan.out / STATE
        if not file.exists():
            return False
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            if state["format"] != _STATE_FORMAT:
                raise ValueError(f"it has format {state['format']}, this version reads {_STATE_FORMAT}")
            self._check_config(state["config"], file)
            before, inputs = Recipe.from_dict(json.loads(state["recipe"])), json.loads(state.get("inputs", "null"))
            self._restore(state)
        except OutputError:
            raise
        except Exception as error:  # a broken pickle raises whatever its bytes happen to ask for
            raise OutputError(f"{file} cannot be resumed ({error}): choose another folder for a new run") from error
        changes = before.differences(self.recipe)
        if inputs is not None:
            changes += self.origin.differences(inputs)
            self.origin = self.origin.begun_from(inputs)
        for change in changes:
            _log.warning("resuming at step %d with a change: %s", self.step, change)
        if changes:
            self.history.append({"step": self.step, "command": self.origin.command, "changes": changes})
        return True

    def run(self, corpus: Corpus, images: Sequence[Sample], report: Callable[[Progress], None]) -> None:
        """Train to the last step; `images` are validated on. `report` gets every line of the log.

        On SIGINT or SIGTERM it finishes the step, saves, and raises KeyboardInterrupt. Raises ModelError when the loss
        is no finite number any more, OutputError when the folder cannot be written or another run is writing it.
        """
        with deferred() as interruption, cpu_threads(self.recipe.threads), reproducible(self.device):
            pinned = self.device.type == "cuda"
            data = batches_from(Batches(corpus, self.recipe, TILE), self.step, workers=self.plan.workers, pinned=pinned)
            with self._folder():
                log = RunLog(self.plan.out / LOG, self.step)
                for line in self._lines(data, images, interruption):
                    log.add(line)
                    report(line)
                self.save()
        if interruption.asked:
            raise KeyboardInterrupt

    @contextmanager
    def _folder(self) -> Iterator[None]:
        """The run's folder, this process's alone, with its record and without what a killed one left half written.

        To be entered when the processes that make batches are there: they would inherit the lock, and outlive a kill.
        """
        out = self.plan.out
        try:
            out.mkdir(parents=True, exist_ok=True)
            lock = RunLock(out / _LOCK)
        except OSError as error:
            raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
        try:
            for name in _FILES:
                clear_partials(out / name)
            write_record(out / RECORD, self.origin, self.history, config=self.network.config, recipe=self.recipe)
            yield
        finally:
            lock.close()

    def save(self) -> None:
        """Write the average, the state and the picture of the log, each in one step. Raises OutputError."""
        save_checkpoint(self.average.network, self.plan.out / LAST)
        with replaced(self.plan.out / STATE) as partial:
            torch.save(self._state(), partial)
        draw_curves(self.plan.out / LOG, self.plan.out / CURVES)

    def _lines(
        self, data: Iterator[tuple[Tensor, Tensor]], images: Sequence[Sample], interruption: Interruption
    ) -> Iterator[Progress]:
        plan, total = self.plan, self.recipe.steps
        while self.step < total and not interruption.asked:
            started = monotonic()
            loss = self.advance(*next(data))
            self._pending.append(tuple(torch.stack((loss.total, loss.bce, loss.dice, loss.presence)).tolist()))
            judged = self.step % plan.validate_steps == 0 or self.step == total
            scores = self._validate(images) if judged else {}
            self.seconds += monotonic() - started
            if judged or self.step % plan.log_steps == 0:
                rate = self.recipe.rate(self.step - 1)
                line = Progress.since(self._pending, self.step, self.seconds, rate)
                self._pending = []
                yield Progress(line.step, line.seconds, line.lr, line.losses, scores)
            if judged or self.step % plan.save_steps == 0:
                self.save()

    def advance(self, rgb: Tensor, masks: Tensor) -> Loss:
        """One optimizer step on uint8 (N, T, T, 3) and (N, T, T) of 0 and 1."""
        # Stochastic depth too is a function of the step, as the batch is.
        torch.manual_seed((self.recipe.seed << 32) + self.step)
        rate = self.recipe.rate(self.step)
        x = normalise(rgb.to(self.device, non_blocking=True))
        logits, presence = self._forward(self.network, x)
        truth = masks.to(self.device, non_blocking=True)[:, None].float()
        loss = segmentation_and_presence(logits, presence, truth, self.recipe.loss)
        total = loss.total
        if self.teacher is not None:
            with torch.no_grad():
                wanted = self._forward(self.teacher, x)
            total = total + self.recipe.loss.distil * distillation((logits, presence), wanted)
        self.optimizer.zero_grad()
        torch.autograd.backward(total)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if not math.isfinite(float(norm)):
            raise ModelError(
                f"the gradient is not finite at step {self.step}: run again with a learning rate below {rate:.2g}"
            )
        self.optimizer.step(rate)
        self.average.update(self.network, self.step)
        self.step += 1
        return Loss(total.detach(), loss.bce, loss.dice, loss.presence)

    def _forward(self, network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            logits, presence = network(x)
        return logits.float(), presence.float()

    def _validate(self, images: Sequence[Sample]) -> dict[str, float]:
        score = validate(self.average.network, images)
        if score.judged.iou > self.best:
            self.best = score.judged.iou
            save_checkpoint(self.average.network, self.plan.out / BEST)
        return figures(score)

    def _state(self) -> dict[str, Any]:
        return {
            "format": _STATE_FORMAT,
            "config": json.dumps(asdict(self.network.config), sort_keys=True),
            "recipe": json.dumps(self.recipe.to_dict()),
            "inputs": json.dumps(dict(self.origin.inputs)),
            "history": json.dumps(self.history),
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "pending": self._pending,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        self._pending = [tuple(losses) for losses in state["pending"]]
        self.history = json.loads(state["history"]) if "history" in state else self.history

    def _check_config(self, stored: str, file: Path) -> None:
        if stored != json.dumps(asdict(self.network.config), sort_keys=True):
            raise OutputError(
                f"{file} belongs to a run of {json.loads(stored)['name']} with other numbers than this "
                f"{self.network.config.name}: choose another folder"
            )
