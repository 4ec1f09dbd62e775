"""When to bring work to the disk, and what is remembered of it."""

from dataclasses import replace
from time import perf_counter

from calanddet.runtime.journal.record import Record
from calanddet.runtime.pipeline.track import Restart, Track
from calanddet.runtime.sinks import Kept, MapOutputs, WorkDir

__all__ = ["Journal"]

SHARE = 0.01
"""Most of a run's time that saving may take: where a disk is slow, it is saved less often."""
WORTH_S = 1.0
"""Work of less than this is not saved when a run ends, well or badly: doing it again is cheaper than explaining it."""


class Journal:
    """The journal of the run that holds a work folder; used by one thread at a time.

    A save has two steps, each on the disk before the next begins: the blocks, then the journal that tells of them.
    So the journal never tells of more than there is, whenever the power goes.
    """

    def __init__(self, work: WorkDir, record: Record, *, every_s: float) -> None:
        """`record`: where the run begins; every_s: seconds between saves, 0 for every row of blocks at any price."""
        self._work, self._record, self._every_s = work, record, every_s
        self._begun = self._saved = perf_counter()
        self._before_s, self._cost_s = record.seconds, 0.0

    @property
    def record(self) -> Record:
        """What was saved last."""
        return self._record

    @property
    def seconds(self) -> float:
        """Work on the map so far, that of the runs before included."""
        return self._before_s + perf_counter() - self._begun

    def save_if_due(self, outputs: MapOutputs, track: Track) -> None:
        """Save, if the last time is long enough ago. Raises OutputError."""
        wait = max(self._every_s, self._cost_s / SHARE) if self._every_s else 0.0
        if perf_counter() - self._saved >= wait and outputs.complete_rows > self._record.kept.rows:
            self._save(outputs, track)

    def save_rest(self, outputs: MapOutputs, track: Track) -> None:
        """Save what has come since the last time, if it is worth it. Raises OutputError."""
        worth = perf_counter() - self._saved >= min(self._every_s, WORTH_S)
        if worth and outputs.complete_rows > self._record.kept.rows:
            self._save(outputs, track)

    def committing(self) -> None:
        """Remember that all files are made and are about to take their names. Raises OutputError."""
        self._write(replace(self._record, committing=True, seconds=self.seconds))

    def forget(self) -> None:
        """Give up what earlier runs saved, and begin at the top. Raises OutputError."""
        self._work.discard()
        self._record = replace(self._record, kept=Kept(), restart=Restart(), seconds=0.0, resumed=0, committing=False)
        self._before_s, self._begun = 0.0, perf_counter()

    def _save(self, outputs: MapOutputs, track: Track) -> None:
        begin = perf_counter()
        kept = outputs.secure()
        self._write(replace(self._record, kept=kept, restart=track.restart(kept.rows), seconds=self.seconds))
        self._saved = perf_counter()
        self._cost_s = self._saved - begin

    def _write(self, record: Record) -> None:
        record.write(self._work.path)
        self._work.stay()
        self._record = record
