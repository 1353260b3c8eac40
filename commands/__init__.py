"""Command and control: what is to be done by a device, proof of whether it was, and nothing done too late.

Owns tables `command_template`, `command` (one execution on one device) and `command_batch`.
"""
