"""What the tests of the benchmarks have in common."""

from tests.coverage.unmeasured import programs_are_not_measured

__all__ = ["programs_are_not_measured"]
