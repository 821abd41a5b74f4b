"""`python -m proxyd` is the same program as `proxyd`."""

from proxyd.cli.main import main

main()
