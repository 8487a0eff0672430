"""Standard audiograms: Bisgaard, Vlaming & Dahlquist, "Standard audiograms for the IEC 60118-15 measurement procedure",
Trends in Amplification 14(2), 2010 (tables 2 and 4).

N groups are flat to moderately sloping, S groups steeply sloping. Those of the paper end at 6 kHz; here their last
value also stands at 8 kHz (NAL-R and HAAQI use 250 Hz to 6 kHz).
"""

FREQUENCIES = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
"""Hz; the challenge's listeners were measured at the same ones."""

STANDARD_AUDIOGRAMS = {
    "N1": [10, 10, 10, 15, 20, 30, 40, 40],
    "N2": [20, 20, 25, 35, 40, 45, 50, 50],
    "N3": [35, 35, 40, 50, 55, 60, 65, 65],
    "N4": [55, 55, 55, 65, 70, 75, 80, 80],
    "N5": [65, 70, 75, 80, 80, 80, 80, 80],
    "N6": [75, 80, 85, 90, 95, 100, 100, 100],
    "N7": [90, 95, 105, 105, 105, 105, 105, 105],
    "S1": [10, 10, 10, 15, 30, 55, 70, 70],
    "S2": [20, 20, 25, 55, 75, 95, 95, 95],
    "S3": [30, 35, 60, 75, 80, 80, 85, 85],
}
"""Hearing levels in dB HL at `FREQUENCIES`. Very mild (N1, S1), mild (N2, S2), moderate (N3), moderate to severe
(N4, S3), severe (N5, N6), profound (N7)."""

AUDIOGRAMS = {"normal": [0, 0, 0, 0, 0, 0, 0, 0], **STANDARD_AUDIOGRAMS}
"""The same, and normal hearing."""


def listener_record(name: str, left: list[int], right: list[int]) -> dict[str, object]:
    """A listener as an entry of listeners.<split>.json.

    Args:
        name: identifier of the listener.
        left, right: hearing levels in dB HL at `FREQUENCIES`.
    """
    return {"name": name, "audiogram_cfs": FREQUENCIES, "audiogram_levels_l": left, "audiogram_levels_r": right}
