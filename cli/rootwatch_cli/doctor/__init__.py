"""`rootwatch doctor`: what is wrong with a deployment, and how to mend it.

`look` asks AWS and describes the deployment, `deployment` is the description, `checks` judges it without I/O, and
`command` prints what was found.
"""
