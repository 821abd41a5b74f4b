"""The version of this program, told to the CA and by `proxyd --version`."""

from datetime import UTC, datetime

__version__ = "0.1.0"

#: No honest clock is earlier than this: used to notice a machine that woke up in 1970.
RELEASED = datetime(2026, 11, 24, tzinfo=UTC)
