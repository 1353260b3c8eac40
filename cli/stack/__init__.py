"""Milkrun on one machine: PostgreSQL, Redis, the broker and the services as child processes of `milkrun up`.

`process` starts a child and makes sure it cannot outlive its parent; `postgres` and `redis` are the embedded servers;
`state` is what the data folder remembers (secrets, running processes, stack.json).
"""
