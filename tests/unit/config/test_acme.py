"""What people write about the CA."""

import pytest

from proxyd.config.acme import AcmeOptions


@pytest.mark.parametrize(
    "written",
    [
        "https://acme-v02.api.letsencrypt.org/directory",
        "https://ACME-v02.api.letsencrypt.org:443/directory/",
    ],
)
def test_a_known_ca_written_as_its_directory_is_that_ca(written: str) -> None:
    options = AcmeOptions(server=written)
    assert options.server == "letsencrypt"
    assert not options.is_private
