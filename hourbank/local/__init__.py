"""The program on this machine: an emulator of AWS, what is deployed on it, and people who use it."""
