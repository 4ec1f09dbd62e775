"""Images that a web server holds: what is asked of it before GDAL is, and how GDAL asks.

GDAL reads windows of such an image with range requests. It is told to ask again by itself when a connection breaks, and
not to look for files beside the image, where a broken connection would pass for a file that is not there.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

import rasterio
from rasterio.errors import RasterioError

from calanddet.runtime.errors import InputError

__all__ = ["Place", "fetched", "forget", "gdal_options", "insisting", "is_url", "remote_identity", "stem_of"]

Place: TypeAlias = Path | str
"""Where an image is: a path, or the URL of one on a web server, as text."""

T = TypeVar("T")
ANSWER_S = 10
"""Seconds without a byte after which a server is taken not to answer."""
OPENING_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0)
"""Seconds between the first tries to reach an image; there may be no such server."""
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What a server says when it may say something else a moment later."""

_PERSISTENT = {
    "GDAL_HTTP_MAX_RETRY": 1,
    "GDAL_HTTP_RETRY_DELAY": 0.2,
    "GDAL_HTTP_RETRY_CODES": "ALL",
    "GDAL_HTTP_CONNECTTIMEOUT": ANSWER_S,
    "GDAL_HTTP_LOW_SPEED_TIME": ANSWER_S,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
}
"""One more try by GDAL, since a window takes many requests and a server that stalls costs ANSWER_S each time; the
patience is `PatientSource`'s."""
_ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_INGESTED_BYTES_AT_OPEN": 65536}


def gdal_options(place: object) -> dict[str, Any]:
    """GDAL's settings for reading an image, for `rasterio.Env`; of a VRT on the disk, parts may be on a server."""
    return {**_PERSISTENT, **_ALONE} if is_url(place) else _PERSISTENT


def is_url(place: object) -> bool:
    """Whether an image is on a web server."""
    return isinstance(place, str) and place.lower().startswith(("http://", "https://"))


def stem_of(place: Place) -> str:
    """The name of an image without folder and suffix, after which its outputs are called."""
    if not is_url(place):
        return Path(place).stem
    try:
        parts = urlsplit(str(place))
    except ValueError as error:
        raise InputError(f"{place} is no address of an image ({error})") from error
    return PurePosixPath(unquote(parts.path)).stem or parts.netloc.replace(":", "_")


def forget(url: str) -> None:
    """Have GDAL forget what it got of an image, and what it failed to get: half an answer is kept like a whole one.

    GDAL forgets what lies under CPL_VSIL_CURL_NON_CACHED when a handle on it is closed, so one is opened, in vain.
    """
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsicurl/"), suppress(RasterioError):
        rasterio.open(url, driver="VRT").close()


def remote_identity(url: str) -> dict[str, Any]:
    """What tells whether the image changed, as in `SourceInfo`; the server's own mark stands where times do elsewhere.

    Raises InputError where there is no such image, or no answer, or a server that does not give parts of files.
    """
    size, mark = insisting(lambda: _asked(url), OPENING_WAITS_S)
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return {"bytes": size, "mtime_ns": 0, "files": [[name, size, mark]]}


def insisting(question: Callable[[], T], waits_s: tuple[float, ...]) -> T:
    """What `question` answers, asked again after each of `waits_s` while there is no answer.

    Raises InputError as the last time.
    """
    for wait_s in waits_s:
        try:
            return question()
        except NoAnswerError:
            time.sleep(wait_s)
    return question()


def fetched(url: str, most: int) -> bytes:
    """All of a small file on a web server. Raises InputError where it cannot be had or has more than `most` bytes."""
    data = insisting(lambda: _told(url, lambda: _got(url, most + 1)), OPENING_WAITS_S)
    if len(data) > most:
        raise InputError(f"{url} has more than {most >> 20} MiB: that is no description of an image")
    return data


class NoAnswerError(InputError):
    """A server did not answer, and may a moment later."""


def _asked(url: str) -> tuple[int, str]:
    """Size in bytes and the server's mark of the file's state, from a request for its first byte."""

    def ask() -> tuple[int, str]:
        request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            if answer.status != 206:
                raise InputError(f"the server of {url} does not give parts of files: download the image and map that")
            size = int(answer.headers["Content-Range"].rpartition("/")[2])
            return size, str(answer.headers["ETag"] or answer.headers["Last-Modified"] or "")

    return _told(url, ask)


def _got(url: str, most: int) -> bytes:
    with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
        data: bytes = answer.read(most)
        promised = answer.headers["Content-Length"]
    if promised is not None and len(data) < min(int(promised), most):
        raise NoAnswerError(f"{url} was not given whole")
    return data


def _told(url: str, question: Callable[[], T]) -> T:
    """What `question` to a server answers; why not, as InputError or, where it may a moment later, NoAnswerError."""
    try:
        return question()
    except urllib.error.HTTPError as error:
        kind = NoAnswerError if error.code in _PASSING else InputError
        raise kind(f"{url} cannot be had: the server says {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise NoAnswerError(
            f"the server of {url} does not answer ({str(reason) or type(error).__name__}): check the address and the "
            "network"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{url} is no address of an image, or its server answers oddly ({error})") from error
