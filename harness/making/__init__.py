"""A system and an evaluation set become a submission."""
