"""How right the arrival times were: judged against what then happened, for a recording and for a tenant's own trips.

`tally` and `figures` are pure and serve the backtest too. Owns `eta_said` and `eta_judged`; takes and gives no events.
"""
