"""No map at all: the straight line, a share more for its bends, and usual speeds. It always answers."""

from eta.engine.geometry import Plane
from eta.engine.route import usual_speed
from eta.routing.model import LatLon, Leg

BENDS = 1.35  # roads against the straight line


def straight(start: LatLon, end: LatLon) -> Leg:
    """The leg between two places as the crow flies."""
    x, y = Plane.around(*start).xy(*end)
    chord = (x * x + y * y) ** 0.5
    metres = BENDS * chord
    return Leg((start, end), (0.0, metres), (0.0, metres / usual_speed(chord)))
