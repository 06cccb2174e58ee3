"""Rootwatch: tells the right person, within seconds, that somebody used an AWS root user.

Read `pipeline` first: it joins the steps in the order in which the data travels.
"""

from rootwatch import compiled_methods

__version__ = "0.1.0"

compiled_methods.use()
