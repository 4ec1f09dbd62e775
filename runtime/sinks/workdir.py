"""Where results grow until they are complete, and how they then take their places all together."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from calanddet.runtime.errors import OptionError, OutputError
from calanddet.runtime.interrupt import deferred
from calanddet.runtime.replace import to_disk
from calanddet.runtime.sinks.failures import writing
from calanddet.runtime.sinks.lock import RunLock

__all__ = ["WorkDir"]

logger = logging.getLogger(__name__)


class WorkDir:
    """The folder `OUT_DIR/.NAME.partial`, this run's alone, that vanishes with everything in it unless committed.

    What a killed run left there is cleared; files of an earlier, finished run stay as they are until `commit`.
    Raises OutputError where the folder cannot be made or another run holds it.
    """

    def __init__(self, out_dir: Path, name: str) -> None:
        if name in ("", ".", "..") or Path(name).name != name:
            raise OptionError(f"results cannot be named {name!r}: a plain file name without a folder is needed")
        self.out_dir = out_dir
        self.name = name
        self.path = out_dir / f".{name}.partial"
        with writing(out_dir):
            out_dir.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(out_dir / f".{name}.lock")
            try:
                if self.path.exists():
                    logger.info("clearing %s, left by a run that did not finish", self.path)
                    shutil.rmtree(self.path)
                self.path.mkdir()
            except OSError:
                self._lock.close()
                raise
        self._closed = False

    def file(self, name: str) -> Path:
        """Path of an unfinished file."""
        return self.path / name

    def commit(self, files: Sequence[str], *, report: str) -> tuple[Path, ...]:
        """Move finished files, and `report` last, from the partial folder to their places; gives their paths.

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
                self._rename(files, report)
        self.close()
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
        """Remove the partial folder and let other runs in; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
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
