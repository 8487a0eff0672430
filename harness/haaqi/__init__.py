"""The locked evaluator: pyclarity's HAAQI under the challenge's protocol, and the proof that it is the locked one."""
