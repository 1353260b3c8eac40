"""Vehicles that are not there: a made-up district and its trucks, recorded trips, and load, over real connections.

`district`, `roadnet` and `roads` make the ground, `journey` and `truck` what happens on it, `recording` plays real
trips. `link` is how a device should behave towards the platform, `duties` what is asked of it beside telemetry;
`fleet` gives every vehicle a link; `load` measures.
Speaks to the platform as devices do, and to `provisioning` for their certificates; owns no tables, knows no events.
"""
