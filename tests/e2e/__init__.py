"""A package, and the only one of the tests': so the stage that they share ends with its last test (`conftest.py`)."""
