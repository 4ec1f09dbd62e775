"""Work that is launched whole."""

from calanddet.runtime.cuda.owner import Owner
from calanddet.runtime.cuda.streams import Stream

__all__ = ["Graph"]


class Graph(Owner):
    """What `Device.capture` wrote down, with its addresses: one call instead of hundreds of launches."""

    def launch(self, stream: Stream) -> None:
        """Queue all of it."""
        self._driver.launch(self.handle, stream.handle)

    def _give_back(self) -> None:
        self._driver.destroy_graph(self._handle)
