"""What holds for every test: requirements of the machine, and no skipping in CI."""

import os
from collections.abc import Generator

import pytest

from tests.requirements import missing

os.environ.setdefault("NATD_PATHS_PORT_MAPPING", "false")
os.environ.setdefault("NATD_PATHS_LAN_DISCOVERY", "false")
"""The tests' daemons neither ask the router of whoever runs them for ports nor meet each other,
or somebody else's, on its LAN."""

IS_CI = os.environ.get("CI") == "true"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*names): see tests/requirements.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            reason = missing(name)
            if reason is not None:
                pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a test that was skipped for whatever reason has failed."""
    report = yield
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {reason}"
    return report
