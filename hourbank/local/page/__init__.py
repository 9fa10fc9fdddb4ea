"""The page of `hourbank up`, and the API behind it."""
