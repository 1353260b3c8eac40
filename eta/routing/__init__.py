"""Roads and driving times from outside the fleet's own history: engines behind one Protocol, and what they may cost.

`ladder.Ladder` is the one way in. `snapshot` always answers, by the straight line if nothing else does, and says by
which method; `traffic` and `nearest` answer None where no engine can or may. Owns the tables `map_leg`, `map_spend`
and `map_use`; takes and gives no events.
"""
