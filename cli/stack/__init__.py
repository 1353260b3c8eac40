"""Milkrun on one machine: PostgreSQL, Redis, the broker and the services as child processes of `milkrun up`.

`local` builds the stack out of `servers` and `services`, `supervise` watches them, `process` starts a child and makes
sure it cannot outlive its parent, `state` is what the data folder remembers (secrets, processes, stack.json).
"""
