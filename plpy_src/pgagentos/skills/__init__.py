"""The skills' side of the kernel."""
