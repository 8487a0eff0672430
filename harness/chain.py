"""The chain for live music: fixed gains, loudness from the past alone, NAL-R.

It stands in for the baseline's, which needs the whole piece to match loudness.
"""
