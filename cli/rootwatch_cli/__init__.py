"""The `rootwatch` command: records from files, the whole pipeline offline, the local stack."""
