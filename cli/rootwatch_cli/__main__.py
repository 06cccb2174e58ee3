"""Runs the command as `python -m rootwatch_cli`."""

from rootwatch_cli.main import main

main()
