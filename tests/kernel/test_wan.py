"""The lab of a bad line, brought up where the kernel has netem."""

from tests.e2e.pasted.test_labs import _images
from tests.e2e.pasted.test_more_labs import (
    pytestmark,
    test_a_branch_office_is_behind_a_slow_and_lossy_line,
)

__all__ = [
    "_images",
    "pytestmark",
    "test_a_branch_office_is_behind_a_slow_and_lossy_line",
]
