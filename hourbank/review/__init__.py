"""`hourbank plan`: what a change of the program changes in what is deployed."""
