"""The locked evaluator (pyclarity's HAAQI under the challenge's protocol), its proof, and the fast engine held against it."""
