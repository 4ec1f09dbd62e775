"""What one seed decides for a whole scene: the sun, the season, the land, the rock and the camera."""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians, sin, tan

from calanddet.runtime.scenes.noise import chance

__all__ = ["Style", "style_of"]

Colour = tuple[float, float, float]

SOILS: tuple[Colour, ...] = (
    (0.58, 0.45, 0.33),  # brown earth
    (0.62, 0.58, 0.52),  # grey debris
    (0.66, 0.57, 0.41),  # yellow loess
    (0.60, 0.40, 0.29),  # red earth
    (0.74, 0.70, 0.62),  # pale pumice and limestone
    (0.47, 0.40, 0.34),  # dark shale
)


@dataclass(frozen=True, slots=True)
class Style:
    """Scene-wide choices; lengths in metres, colours as reflectance-like RGB in 0..1, fractions in 0..1."""

    sun: tuple[float, float]
    """Unit vector, in (row, col), of the ground direction towards the sun."""
    sun_slope: float
    """Tangent of the sun's elevation."""
    rivers: tuple[float, float]
    """Unit vector, in (row, col), across the rivers."""
    relief_m: float
    valley_m: float
    forest: float
    crown_m: float
    crown_tint: float
    crown_dark: float
    dryness: float
    farmed: float
    slides: float
    soil: Colour
    soil_second: Colour
    rock: Colour
    tint: Colour
    haze: float
    contrast: float
    colour: float
    exposure: float
    blur: float
    clouds: float
    plot_turn: tuple[float, float]
    """Cosine and sine of the fields' grid against the rows."""


@lru_cache(maxsize=64)
def style_of(seed: int) -> Style:
    """The style of a seed."""

    def draw(name: str, low: float = 0.0, high: float = 1.0) -> float:
        return chance(seed, f"style/{name}", low, high)

    def soil(name: str) -> Colour:
        base = SOILS[int(draw(name, 0, len(SOILS)))]
        grey = draw(f"{name}/wash", 0.0, 0.35)
        light = draw(f"{name}/light", 0.82, 1.15)
        mean = sum(base) / 3
        red, green, blue = (light * (channel + grey * (mean - channel)) for channel in base)
        return red, green, blue

    across = radians(draw("rivers", 0.0, 180.0))
    azimuth, turn = radians(draw("azimuth", -75.0, 75.0)), radians(draw("turn", 0.0, 90.0))
    # Six digits, since sine and cosine differ in the last bits between machines.
    return Style(
        sun=(round(cos(azimuth), 6), round(sin(azimuth), 6)),
        sun_slope=round(tan(radians(draw("elevation", 34.0, 66.0))), 6),
        rivers=(round(cos(across), 6), round(sin(across), 6)),
        relief_m=draw("relief", 60.0, 140.0),
        valley_m=draw("valley", 25.0, 90.0),
        forest=draw("forest", 0.35, 1.0),
        crown_m=draw("crown", 3.2, 5.6),
        crown_tint=draw("crown_tint"),
        crown_dark=draw("crown_dark", 0.75, 1.15),
        dryness=draw("dryness"),
        farmed=draw("farmed"),
        slides=draw("slides", 0.5, 1.0),
        soil=soil("soil"),
        soil_second=soil("soil_second"),
        rock=soil("rock"),
        tint=(draw("red", 0.93, 1.06), draw("green", 0.95, 1.04), draw("blue", 0.92, 1.08)),
        haze=draw("haze", 0.0, 0.12) * draw("hazy"),
        contrast=draw("contrast", 0.85, 1.2),
        colour=draw("colour", 0.5, 0.95),
        exposure=draw("exposure", 1.05, 1.38),
        blur=draw("blur", 0.35, 0.75),
        clouds=draw("clouds", -0.6, 0.6),
        plot_turn=(round(cos(turn), 6), round(sin(turn), 6)),
    )
