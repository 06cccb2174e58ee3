"""Rootwatch: tells the right person, within seconds, that somebody used an AWS root user.

Read `pipeline` first: it joins the steps in the order in which the data travels.
"""

import gc

from rootwatch import compiled_methods

__version__ = "0.1.0"

# Both for the sake of a cold start, and first of all: what is imported stays, and to look through it for garbage after
# every 2,000 new objects, as Python does, was a tenth of what importing takes.
gc.set_threshold(20_000)
compiled_methods.use()
