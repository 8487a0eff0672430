"""The engine whose filters run in double precision."""
