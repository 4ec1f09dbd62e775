import pytest

from calanddet.runtime.errors import OptionError
from calanddet.runtime.mapping import MapOptions
from calanddet.runtime.model import DEFAULT_BLEND, DEFAULT_OVERLAP
from calanddet.runtime.presets import DEFAULT, PRESETS, preset_by_name
from calanddet.runtime.tiling import TileGrid

AUTHORS_OVERLAP = 112


def test_the_default_is_what_everything_maps_with() -> None:
    preset = preset_by_name(DEFAULT)
    assert (preset.overlap, preset.blend) == (DEFAULT_OVERLAP, DEFAULT_BLEND)
    assert (MapOptions().overlap, MapOptions().blend) == (DEFAULT_OVERLAP, DEFAULT_BLEND)


@pytest.mark.parametrize("shape", [(1024, 1024), (3000, 3000), (7680, 6144), (1170, 1280), (40000, 25000)])
def test_fewer_tiles_each_and_the_default_at_most_47_percent_of_the_authors(shape: tuple[int, int]) -> None:
    fast, default, fine = (
        len(TileGrid.cover(shape, 224, PRESETS[name].overlap)) for name in ("fast", "default", "fine")
    )
    authors = len(TileGrid.cover(shape, 224, AUTHORS_OVERLAP))
    assert fast <= default < fine <= authors
    assert default <= 0.47 * authors


def test_what_is_asked_for_wins_over_the_preset() -> None:
    fast = preset_by_name("fast")
    assert fast.but(None, None) == fast
    assert (fast.but(0, None).overlap, fast.but(0, None).blend) == (0, fast.blend)
    assert (fast.but(None, "crop").overlap, fast.but(None, "crop").blend) == (fast.overlap, "crop")


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(OptionError, match="fast, default, fine"):
        preset_by_name("faster")
    with pytest.raises(OptionError, match="no blending rule 'sharp'"):
        preset_by_name("fast").but(None, "sharp")
