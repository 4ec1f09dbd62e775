"""Made scenes: georeferenced aerial images with landslides whose truth is exact, for demo, tests and training."""

from calanddet.runtime.scenes.scene import Scene
from calanddet.runtime.scenes.writer import write_scene

__all__ = ["Scene", "write_scene"]
