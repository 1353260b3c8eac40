"""What the platform asks of a device beside telemetry, done as a good device does it, over its link's connection.

`base` says what a duty is; `twin` keeps settings in step with the shadow, `commands` carries commands out.
"""
