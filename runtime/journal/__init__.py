"""What a run has brought to the disk, so that one that is stopped, however that happens, can go on from there.

journal = Journal(work, record, seed)           # record: what read_record found, None for a run from the top
...                                             # map from journal.restart on
if journal.due:
    journal.save(outputs.secure(), track.restart)
journal.committing()                            # all files are made; they take their names next
"""

from calanddet.runtime.journal.changes import changes
from calanddet.runtime.journal.journal import Journal
from calanddet.runtime.journal.record import JOURNAL, Record, read_record

__all__ = ["JOURNAL", "Journal", "Record", "changes", "read_record"]
