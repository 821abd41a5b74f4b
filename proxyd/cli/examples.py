"""What `--help` shows below the options: the command as people type it."""


def examples(*lines: str) -> str:
    r"""Return the epilog of a command: each line as it is, because \b keeps click from joining them."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))
