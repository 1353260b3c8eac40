"""Trips under way, followed as their devices report: their states, arrival times and alerts, and what they teach.

Takes TelemetryReceived, TripChanged and StopChanged from the bus; gives TripChanged, StopChanged, AlertRaised (outbox)
and EstimatesMade (at once). Owns trip_estimate, trip_alert, trip_road, trip_lesson and leg_road. A trip's progress is
kept nowhere: whoever takes a partition over works it out again from the fixes in the telemetry store.
"""
