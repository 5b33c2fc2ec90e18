"""A package, and not named `tests`: pytest would import `operator/tests/…` as `operator.tests` and
so put a package in the place of the standard library's `operator`, for the whole session."""
