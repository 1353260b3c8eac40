"""The `milkrun` command: the composition root for one machine. May import every package; nothing imports it.

`main` mounts the commands, `context` finds a running stack for them, `stack` starts, watches and stops its parts.
"""
