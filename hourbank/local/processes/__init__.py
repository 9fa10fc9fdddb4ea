"""What runs in processes of its own, and imports nothing of ours: the emulator, the functions, a debugger's hub."""
