"""The journal's one entry: which run it is, and how far that has come."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from calanddet.runtime.errors import OutputError
from calanddet.runtime.pipeline.track import Restart
from calanddet.runtime.replace import replaced, to_disk
from calanddet.runtime.sinks import Kept

__all__ = ["JOURNAL", "Record", "read_record"]

JOURNAL = "journal.json"
JOURNAL_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """Which run it is, and how far it has come.

    facts: all that decides the bytes, which the run that goes on must share; fingerprint: of the finished set;
    about: what the report and the files say of the making, for whoever writes what there is so far.
    kept, restart: what is on the disk and where to go on. started: UTC, ISO 8601; seconds: of work so far;
    resumed: how often it went on. committing: all files were made, and were about to take their names.
    """

    facts: Mapping[str, Any]
    fingerprint: str
    started: str
    about: Mapping[str, Any] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)
    restart: Restart = field(default_factory=Restart)
    seconds: float = 0.0
    resumed: int = 0
    committing: bool = False

    def write(self, folder: Path) -> None:
        """Write the journal of a work folder; it is the new one or the old one, whenever the power goes.

        Raises OutputError.
        """
        text = json.dumps({"format": JOURNAL_FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        with replaced(folder / JOURNAL) as path:
            path.write_text(text, encoding="utf-8")
        try:
            to_disk(folder)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error


def read_record(folder: Path) -> Record | None:
    """The entry in the journal of a work folder, None where there is none.

    Raises OutputError for a journal that is not one of this version.
    """
    try:
        raw: Any = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        if raw.pop("format") != JOURNAL_FORMAT:
            raise ValueError("another format")
        return Record(**{**raw, "kept": Kept(**raw["kept"]), "restart": Restart(**raw["restart"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{folder / JOURNAL} is not a journal that this version reads ({error})") from error
