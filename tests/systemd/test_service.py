"""The service on a machine of its own."""

import subprocess

import pytest

pytestmark = pytest.mark.systemd


def test_it_boots() -> None:
    subprocess.run(["systemctl", "--version"], check=True)
