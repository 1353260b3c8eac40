"""Arrival times: where a trip is on its route, when it reaches each stop, and when to warn the people who wait there.

What stands here is pure and needs no map, clock or database: `engine` follows trips on a route snapshot, learns from
those that finished and gives p10, p50 and p90 of every arrival; `alerts` decides which warning is due, once;
`backtest` plays recordings through both and measures them. Takes fixes, routes and finished trips as values, gives
estimates and alerts as values. Owns no tables.
"""
