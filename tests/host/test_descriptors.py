"""The soft limit of open files is raised as far as the hard one allows, and never lowered."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from natd.host.descriptors import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(64, 1000), (64, 64), (256, 512)])
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(soft=soft, hard=hard)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(hard)] * 3
