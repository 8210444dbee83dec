"""Decide when the outdoor coil of an FH unit is to be freed of frost, and for how long.

In humid weather near freezing, rime grows on the evaporator fins and chokes the air stream. The controller then reverses the
refrigerant, so that hot gas thaws the fins, and halts the fan meanwhile. Doing this too seldom wastes electricity, because a
blocked coil pulls the evaporating temperature down; doing it too often wastes the heat that is taken from the house.

The rule compares the measured evaporating temperature with the one that a clean coil would have at the same compressor speed
and outdoor temperature. The difference, in kelvin, is a better witness than a timer: in dry cold nothing has to be done for hours.
"""

from dataclasses import dataclass

DRY_AIR_DEW_POINT_CELSIUS = -14.0  # below this there is too little vapour for rime worth mentioning
PENALTY_START_KELVIN = 6.5  # field tests 12 to 29: the cheapest moment over a whole winter
RUNTIME_BETWEEN_CYCLES_MIN_S = 35 * 60  # the house must get some heat in between
CYCLE_DURATION_MAX_S = 480  # a longer one hints at wind or at a stuck reversing valve
COIL_CLEAR_CELSIUS = 12.0  # the last drops have run off at this coil temperature


@dataclass(frozen=True)
class CoilReading:
    """One sample of the sensors around the evaporator, temperatures in degrees Celsius."""

    outdoor: float
    dew_point: float
    evaporating: float
    coil: float
    compressor_rpm: int
    runtime_since_cycle_s: int


def clean_coil_evaporating(outdoor: float, compressor_rpm: int) -> float:
    """Return the evaporating temperature expected from a coil without rime (fit of the climate-chamber series K9)."""
    approach_kelvin = 3.1 + 0.00092 * compressor_rpm
    return outdoor - approach_kelvin


def defrost_due(reading: CoilReading) -> bool:
    """Say whether a cycle pays: humid air, enough runtime since the last one, and a penalty above the threshold."""
    if reading.dew_point < DRY_AIR_DEW_POINT_CELSIUS:
        return False
    if reading.runtime_since_cycle_s < RUNTIME_BETWEEN_CYCLES_MIN_S:
        return False
    expected = clean_coil_evaporating(reading.outdoor, reading.compressor_rpm)
    return expected - reading.evaporating >= PENALTY_START_KELVIN


def cycle_finished(coil_celsius: float, elapsed_s: int) -> bool:
    """End on a warm coil, or on the time limit, which the caller reports as warning W-3201."""
    return coil_celsius >= COIL_CLEAR_CELSIUS or elapsed_s >= CYCLE_DURATION_MAX_S
