"""The program: `proxyd`, and `python -m proxyd`."""

import gc


def main() -> None:
    """Run the command line."""
    gc.disable()  # what a start makes stays: to look for garbage in it would take a quarter of the time
    from proxyd.cli.main import main as run_command

    run_command()


if __name__ == "__main__":
    main()
