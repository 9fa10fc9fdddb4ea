"""`hourbank verify`: whether AWS does with this program what the program expects, asked of an account itself."""
