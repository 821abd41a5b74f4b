"""Wiring: the only place where concrete parts meet; signals, reload, systemd, logs."""
