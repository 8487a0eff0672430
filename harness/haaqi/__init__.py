"""The locked evaluator, its proof, and the fast engine that is held against it."""
