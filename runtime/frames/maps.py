"""From a video or a stream to one map in a folder."""

from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from calanddet.runtime.frames.flight import Flight
from calanddet.runtime.frames.framejob import FrameJob, FrameNames
from calanddet.runtime.frames.live import LiveFrames, LiveOptions
from calanddet.runtime.frames.video import VideoFrames
from calanddet.runtime.model import Model
from calanddet.runtime.options import MapOptions
from calanddet.runtime.pipeline.stream import Progress

__all__ = ["map_stream", "map_video"]


def map_video(
    model: Model, path: Path, out: Path, options: MapOptions, progress: Progress | None
) -> tuple[FrameNames, bool]:
    """Map a video file into the set named after it; with it, whether an identical finished set was kept instead.

    Frames are placed by the telemetry beside the video or in it. One that was stopped begins again.
    Raises InputError, EngineError or OutputError.
    """
    names = FrameNames(path.stem)
    with closing(VideoFrames(path, options.every_s)) as frames, closing(Flight(path, options.camera)) as flight:
        first = flight.first(frames.times, frames.shape)
        files = [[file.name, (stat := file.stat()).st_size, stat.st_mtime_ns] for file in (path, *flight.files)]
        job = FrameJob(model, frames, flight, options, names, files)
        return names, job.map(out, first, progress)


def map_stream(
    model: Model,
    url: str,
    out: Path,
    options: MapOptions,
    progress: Progress | None,
    *,
    live: LiveOptions | None = None,
) -> tuple[FrameNames, bool]:
    """Map a live stream, in pixels, until it ends for good, its time is over or Ctrl-C: its set is complete then.

    The set is named after the moment. Raises InputError where the stream does not answer, EngineError or OutputError.
    """
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    names = FrameNames(f"stream_{moment}")
    with closing(LiveFrames(url, live or LiveOptions())) as frames, closing(Flight(None, options.camera)) as flight:
        job = FrameJob(model, frames, flight, options, names, [[url, 0, moment]])
        return names, job.map(out, None, progress)
