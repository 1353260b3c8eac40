"""Builds the arrival-time process and runs it until told to stop. Its memory follows from what is kept."""

import gc

from core.bus import Bus
from core.clock import ReplayClock, utc_now
from core.db import Database
from core.events import TelemetryReceived
from core.metrics import READY
from core.settings import Settings
from core.worker import Worker, until_stopped
from eta.accuracy.judge import Judge
from eta.accuracy.record import Recorder
from eta.live.announce import Announcer
from eta.live.beside import Beside
from eta.live.handlers import Follower
from eta.live.learner import Learner
from eta.routing.process import opened
from eta.trips.recurring import RecurringTrips
from eta.trips.service import TripService

GROUP = "eta"


async def run(settings: Settings) -> None:
    """Follow the trips of the partitions that are ours, raise their alerts, learn, and plan the days ahead."""
    # Routes and fixes stay, estimates live for one telling: at its default pace the collector would walk the first for
    # the second again and again.
    gc.set_threshold(50_000, 20, 50)
    database = settings.database
    timeout_s = database.statement_timeout_s
    tenants = Database(database.app_url, pool_size=database.pool_size, statement_timeout_s=timeout_s)
    everyone = Database(database.operator_url, pool_size=4, statement_timeout_s=timeout_s)
    clock = utc_now if settings.eta.clock_file is None else ReplayClock(settings.eta.clock_file)
    bus = Bus(settings.redis, settings.bus)
    async with tenants, everyone, opened(everyone, settings.maps, utc_now) as ladder:
        recorder = Recorder(everyone)
        judge = Judge(tenants, everyone, settings.accuracy, utc_now)
        follower = Follower(
            database=tenants,
            everyone=everyone,
            bus=bus,
            drawer=ladder,
            settings=settings.eta,
            clock=clock,
            beside=Beside(ladder, recorder),
        )
        announcer = Announcer(database=tenants, clock=clock)
        learner = Learner(database=tenants, everyone=everyone, settings=settings.eta, clock=clock)
        plans = RecurringTrips(operator=everyone, trips=TripService(database=tenants, clock=utc_now), clock=utc_now)
        worker = Worker(
            group=GROUP,
            handlers=announcer.handlers(),
            batches=follower.batches(),
            concerns={TelemetryReceived: follower.watch.concerns},
            bus=bus,
            database=everyone,
            settings=settings.bus,
            on_lease=follower.on_lease,
        )
        try:
            # Before the first fix is heard, so that none passes by as nobody's.
            await follower.watch.look()
            READY.set(1)
            await until_stopped(worker.run(), follower.run(), learner.run(), plans.run(), recorder.run(), judge.run())
        finally:
            READY.set(0)
            await recorder.flush()
            await bus.close()
