"""`python -m harness`: the same program as `harness`."""

from harness.cli import main

main()
