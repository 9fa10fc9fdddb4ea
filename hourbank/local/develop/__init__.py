"""What a developer has beside a local run: edited files that are taken up, and a debugger that stops in handlers."""
