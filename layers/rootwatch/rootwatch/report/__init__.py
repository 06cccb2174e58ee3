"""What a month was like: one pass over the audit table, and the same figures as a page, a register and JSON.

    months of the table ─▶ aggregate ─▶ model ─▶ html, csv, json
                                          └─▶ charts, policy

Nothing here is on the way of an alert, and nothing on it imports this.
"""
