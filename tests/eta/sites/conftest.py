from tests.eta.trips.conftest import rounds

__all__ = ["rounds"]
