"""Types of the native extension; see calanddet.runtime.mosaic.twin."""

import numpy as np
from numpy.typing import NDArray

def accumulate(
    sums: NDArray[np.uint32],
    tile: NDArray[np.uint8],
    row_weights: NDArray[np.uint16],
    col_weights: NDArray[np.uint16],
    col: int,
) -> None: ...
def finalise(sums: NDArray[np.uint32], valid: NDArray[np.bool_], band: NDArray[np.uint8]) -> None: ...
