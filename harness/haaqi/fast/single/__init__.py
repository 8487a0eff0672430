"""The engine in single precision, all bands of a group side by side in SIMD registers."""
