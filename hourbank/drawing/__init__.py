"""A definition read as a graph, and drawn."""
