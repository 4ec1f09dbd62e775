"""Where the frames of one video lie, and why not where they do not."""

from collections import Counter
from pathlib import Path
from typing import Any

from calanddet.runtime.camera import CameraGeoreference, CameraOptions
from calanddet.runtime.errors import InputError
from calanddet.runtime.frames.placing import Placer
from calanddet.runtime.telemetry import FlightTrack, find_telemetry, subtitles_of

__all__ = ["Flight"]


class Flight:
    """Places the frames of a video by its telemetry; a live stream has none. Counts what it cannot place, and why."""

    def __init__(self, video: Path | None, options: CameraOptions) -> None:
        """Raises InputError where the elevation model cannot be opened."""
        self.placer = Placer(options)
        self.track: FlightTrack | None = None
        self._why_none = "it has no telemetry"
        self._unplaced: Counter[str] = Counter()
        self._placed = 0
        self._beside = None if video is None else subtitles_of(video)
        if video is None:
            return
        try:
            self.track = find_telemetry(video)
        except InputError as error:
            self._why_none = str(error)

    def first(self, times: list[float], shape: tuple[int, int]) -> CameraGeoreference | None:
        """Where the first frame lies that can be placed at all, None where none can.

        Raises InputError where an elevation model is given and covers no frame.
        """
        failure: InputError | None = None
        for time in times if self.track else ():
            try:
                return self._placed_at(time, shape)
            except InputError as error:
                failure = error
        if failure is not None and self.placer.dem is not None:
            raise InputError(f"no frame can be placed: {failure}") from failure
        return None

    def at(self, time_s: float, shape: tuple[int, int]) -> CameraGeoreference | None:
        """Where the frame of `shape` (rows, cols) at a time lies; None, counted, where that is not known."""
        try:
            found = self._placed_at(time_s, shape)
        except InputError as error:
            self._unplaced[str(error)] += 1
            return None
        self._placed += 1
        return found

    def account(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Counts for the report and sentences for the user."""
        total = self._placed + sum(self._unplaced.values())
        notes = [
            f"{count} of {total} frames are mapped in pixels alone: {why}"
            for why, count in self._unplaced.most_common()
        ]
        dialect = None if self.track is None else self.track.dialect
        notes += [] if self.track is None else list(self.track.notes)
        return {"placed": self._placed, "telemetry": dialect}, tuple(notes)

    def _placed_at(self, time_s: float, shape: tuple[int, int]) -> CameraGeoreference:
        if self.track is None:
            raise InputError(self._why_none)
        reading = self.track.at(time_s)
        if reading is None:
            beyond = time_s > self.track.until_s
            raise InputError(
                f"its telemetry ends at {self.track.until_s:.1f} s" if beyond else "its telemetry has a gap there"
            )
        return self.placer.place(reading, shape)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that decide where the frames lie: subtitles and the elevation model."""
        return tuple(filter(None, (self._beside, None if self.placer.dem is None else self.placer.dem.path)))

    def close(self) -> None:
        """Close the elevation model; idempotent."""
        self.placer.close()
