"""Step 3, what we know around a record: where it came from, with which client, and how old it is."""
