"""Rings cut into chains of vertices at those that are kept."""

import numpy as np
from numpy.typing import NDArray

from calanddet.runtime.polygons.trace import slices
from calanddet.runtime.types import Bool

__all__ = ["Chains", "farthest"]

Int = NDArray[np.int64]
Float = NDArray[np.float64]


class Chains:
    """Chains of some rings, each from a kept vertex to the next one; a chain is known by its first vertex.

    keep: bool, (V,), which vertices are kept; the first of every ring is. The vertices between a chain's ends follow
    its first one; the end of a ring's last chain is the ring's first vertex.
    """

    def __init__(self, keep: Bool, ring_size: Int) -> None:
        self.keep = keep
        self._ring_start = np.cumsum(ring_size) - ring_size
        self._ring = np.repeat(np.arange(len(ring_size)), ring_size)
        self._stop = np.cumsum(ring_size)

    def all(self) -> Int:
        """All chains with a vertex between their ends, int64, (n,)."""
        return self._long(np.flatnonzero(self.keep))

    def inner(self, chain: Int) -> Int:
        """How many vertices lie between the ends of each chain, int64, (n,)."""
        return self._beyond(chain) - chain - 1

    def end(self, chain: Int) -> Int:
        """The vertex where each chain ends, int64, (n,)."""
        beyond, ring = self._beyond(chain), self._ring[chain]
        return np.where(beyond == self._stop[ring], self._ring_start[ring], beyond)

    def split(self, vertex: Int) -> Int:
        """Keep each `vertex`, int64, (n,), of n chains, and give the chains that come of it, of more than one edge."""
        before = (
            np.maximum.accumulate(np.where(self.keep, np.arange(len(self.keep)), 0))[vertex] if len(vertex) else vertex
        )
        self.keep[vertex] = True
        return self._long(np.sort(np.concatenate([before, vertex])))

    def of_collapsed_rings(self, chain: Int) -> Int:
        """Those chains whose ring has fewer than three vertices left."""
        left = np.add.reduceat(self.keep.astype(np.int64), self._ring_start)
        return chain[left[self._ring[chain]] < 3]

    def _long(self, chain: Int) -> Int:
        return chain[self.inner(chain) > 0]

    def _beyond(self, chain: Int) -> Int:
        """The next kept vertex, or the one behind the ring's last."""
        kept = np.flatnonzero(self.keep)
        after = np.searchsorted(kept, chain, side="right")
        stop = self._stop[self._ring[chain]]
        following = np.where(after < len(kept), kept[np.minimum(after, len(kept) - 1)], stop)
        return np.minimum(following, stop)


def farthest(chains: Chains, chain: Int, points: Float) -> tuple[Float, Int]:
    """Of each chain, the vertex that is farthest from the line between its ends: distance, float64, (n,), and index.

    points: float64, (V, D). The line ends at the chain's ends.
    """
    inner = chains.inner(chain)
    if not len(chain):
        return np.empty(0), chain
    vertex = slices(chain + 1, inner)
    which = np.repeat(np.arange(len(chain)), inner)
    origin = points[chain]
    along = points[chains.end(chain)] - origin
    offset = points[vertex] - origin[which]
    length2 = np.maximum((along**2).sum(axis=1), np.finfo(np.float64).tiny)[which]
    share = np.clip((offset * along[which]).sum(axis=1) / length2, 0.0, 1.0)
    distance = np.linalg.norm(offset - share[:, None] * along[which], axis=1)
    largest = np.maximum.reduceat(distance, np.cumsum(inner) - inner)
    hit = np.flatnonzero(distance == largest[which])
    _, first = np.unique(which[hit], return_index=True)
    return largest, vertex[hit[first]]
