"""Where results grow until they are complete, and how they then take their places all together."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.interrupt import deferred
from calanddet.runtime.replace import to_disk
from calanddet.runtime.sinks.failures import writing
from calanddet.runtime.sinks.lock import RunLock

__all__ = ["WorkDir", "held", "work_path"]

logger = logging.getLogger(__name__)


def work_path(out_dir: Path, name: str) -> Path:
    """The folder in which the set `name` of `out_dir` grows."""
    return out_dir / f".{name}.partial"


@contextmanager
def held(out_dir: Path, name: str) -> Iterator[None]:
    """Keep runs away from the set `name` of `out_dir` while something is done to its finished files.

    Raises OutputError where a run is at it.
    """
    with writing(out_dir):
        lock = RunLock(_lock_path(out_dir, name))
    with closing(lock):
        yield


def _lock_path(out_dir: Path, name: str) -> Path:
    return out_dir / f".{name}.lock"


class WorkDir:
    """The folder `OUT_DIR/.NAME.partial`, this run's alone, that vanishes with everything in it when it is closed,
    unless it was told to stay.

    Of what a killed run left there only `keep` is kept, and the folder then stays until `discard` or `commit`; files of
    an earlier, finished run stay as they are until `commit`.
    Raises OutputError where the folder cannot be made or another run holds it.
    """

    def __init__(self, out_dir: Path, name: str, *, keep: Sequence[str] = ()) -> None:
        if name in ("", ".", "..") or Path(name).name != name:
            raise OptionError(f"results cannot be named {name!r}: a plain file name without a folder is needed")
        self.out_dir = out_dir
        self.name = name
        self.path = work_path(out_dir, name)
        self._keep = tuple(keep)
        with writing(out_dir):
            out_dir.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(_lock_path(out_dir, name))
            try:
                self.path.mkdir(exist_ok=True)
                self.stays = self._cleared(self._keep)
            except OSError:
                self._lock.close()
                raise
        self._closed = False

    def stay(self) -> None:
        """Leave the folder where it is when it is closed, for a later run to go on from; `discard` takes that back.

        Its own name is on the disk then, too. Raises OutputError.
        """
        if not self.stays:
            self.stays = True
            with writing(self.out_dir):
                to_disk(self.out_dir)

    def discard(self) -> None:
        """Empty the folder, which then vanishes when it is closed. Raises OutputError."""
        with writing(self.out_dir):
            self._cleared(())
        self.stays = False

    def _cleared(self, keep: Sequence[str]) -> bool:
        """Remove what is in the folder but `keep`, and say whether anything of that is there."""
        kept = False
        for path in sorted(self.path.iterdir()):
            if path.name in keep:
                kept = True
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        return kept

    def file(self, name: str) -> Path:
        """Path of an unfinished file."""
        return self.path / name

    def commit(self, files: Sequence[str], *, report: str, stale: Sequence[str] = ()) -> tuple[Path, ...]:
        """Move finished files, and `report` last, from the partial folder to their places; gives their paths.

        Other runs stay out until `close`, for what is still to be made of the files.
        stale: files of an earlier set of the name that this one has not; they go first, while a report tells of them.

        A report says that its set is complete, so the order is: every file is on the disk; the old report goes; the
        files take their names, one atomic rename each; the new report takes its name. Whenever the power goes, the
        files beside a report are those that it tells of; without one, the set is not complete and is made again.
        Ctrl-C and SIGTERM wait until the names are taken, and are raised as KeyboardInterrupt then.
        Raises OutputError, naming what happened; the set is then without a report or still the earlier one.
        """
        missing = [name for name in (*files, report) if not self.file(name).is_file()]
        if missing:
            raise OutputError(f"{self.path} lacks {', '.join(missing)}: something removed it while the run wrote it")
        with writing(self.out_dir):
            for name in (*files, report):
                to_disk(self.file(name))
            to_disk(self.path)
            with deferred() as interruption:
                for name in stale:
                    (self.out_dir / name).unlink(missing_ok=True)
                self._rename(files, report)
        self.stays = False
        if interruption.asked:
            raise KeyboardInterrupt
        return tuple(self.out_dir / name for name in (*files, report))

    def _rename(self, files: Sequence[str], report: str) -> None:
        (self.out_dir / report).unlink(missing_ok=True)
        to_disk(self.out_dir)
        for name in files:
            self.file(name).replace(self.out_dir / name)
        to_disk(self.out_dir)
        self.file(report).replace(self.out_dir / report)
        to_disk(self.out_dir)

    def close(self) -> None:
        """Remove the partial folder, unless it is to stay, and let other runs in; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self.stays:
                for name in self._keep:  # first, so that nothing is taken up from half of them
                    self.file(name).unlink(missing_ok=True)
                shutil.rmtree(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            logger.warning("%s could not be removed (%s); the next run will clear it", self.path, error)
        self._lock.close()

    def __enter__(self) -> "WorkDir":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
