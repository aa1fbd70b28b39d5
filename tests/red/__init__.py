"""Defences taken out, one small patch a promise, and the test that must go red.

    python -m tests.red              # all of them
    python -m tests.red bodies-once  # those whose name has this in it

A patch begins with lines that say which promise it breaks, and by which tests that is seen:

    Promise: a text stands once on the disk
    Test: tests/storage/test_mailbox.py::test_a_text_stands_once_on_the_disk

Each is applied to a copy of the source.  A test that stays green there holds nothing.
"""
