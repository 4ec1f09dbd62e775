"""Where the pixels of a picture lie on the ground: a pinhole camera above a plane or a terrain model, with accuracy.

Local coordinates are metres to the east, to the north and upwards; heights are in the datum of the terrain.
"""

from calanddet.runtime.camera.georeference import CameraGeoreference
from calanddet.runtime.camera.lens import Pinhole
from calanddet.runtime.camera.options import CameraOptions
from calanddet.runtime.camera.place import LocalFrame
from calanddet.runtime.camera.pose import Pose, Uncertainty
from calanddet.runtime.camera.sight import Sight
from calanddet.runtime.camera.terrain import Dem, Level, Terrain

__all__ = [
    "CameraGeoreference",
    "CameraOptions",
    "Dem",
    "Level",
    "LocalFrame",
    "Pinhole",
    "Pose",
    "Sight",
    "Terrain",
    "Uncertainty",
]
