"""For operators: the control socket and what talks through it."""
