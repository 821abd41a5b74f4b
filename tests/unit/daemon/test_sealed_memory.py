import errno
import os

import pytest

from proxyd.daemon.sealed_memory import sealed, unsealed


def test_nobody_can_change_what_is_sealed() -> None:
    descriptor = sealed("test", b"as it was")
    for change in (lambda: os.write(descriptor, b"x"), lambda: os.ftruncate(descriptor, 1)):
        with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
            change()
    assert unsealed(descriptor) == b"as it was"


def test_what_is_not_sealed_is_not_read() -> None:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with pytest.raises(OSError, match="not sealed"):
        unsealed(descriptor)
