"""What compile and fit do.

Read in this order: trainer, loop, step, objective, logs.
"""
