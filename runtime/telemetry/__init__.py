"""What drones write down beside their pictures: EXIF and XMP in photographs, subtitles and tracks of videos."""

from calanddet.runtime.telemetry.beside import find_telemetry, subtitles_of
from calanddet.runtime.telemetry.photo import PhotoFacts, read_photo
from calanddet.runtime.telemetry.reading import Reading
from calanddet.runtime.telemetry.srt import read_srt
from calanddet.runtime.telemetry.track import FlightTrack

__all__ = ["FlightTrack", "PhotoFacts", "Reading", "find_telemetry", "read_photo", "read_srt", "subtitles_of"]
