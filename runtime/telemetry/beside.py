"""Telemetry of a video: subtitles of its name beside it, or a track inside it."""

from pathlib import Path

from calanddet.runtime.telemetry.gopro import read_gopro
from calanddet.runtime.telemetry.srt import read_srt
from calanddet.runtime.telemetry.track import FlightTrack

__all__ = ["find_telemetry", "subtitles_of"]


def find_telemetry(video: Path) -> FlightTrack | None:
    """The flight of a video, None where there is no telemetry.

    Subtitles beside it go before what is in the video. Raises InputError where telemetry is
    there and is of no use.
    """
    beside = subtitles_of(video)
    return read_gopro(video) if beside is None else read_srt(beside)


def subtitles_of(video: Path) -> Path | None:
    """NAME.srt beside NAME.mp4, in whatever case."""
    wanted = f"{video.stem}.srt".casefold()
    return next(iter(sorted(p for p in video.absolute().parent.iterdir() if p.name.casefold() == wanted)), None)
