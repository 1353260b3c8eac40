"""Arrival times: where a trip is on its route, when it reaches each stop, and when to warn the people who wait there.

Pure, without map, clock or database: `engine` follows trips on a route snapshot, learns from those that finished and
gives p10, p50 and p90 of every arrival; `alerts` decides which warning is due, once; `backtest` plays recordings
through both and measures them. Around them: `sites` and `trips` are what people plan and change, `live` follows trips
as devices report, `routing` asks map engines for roads, `accuracy` judges what was said. Each names the events it takes
and gives and the tables it owns.
"""
