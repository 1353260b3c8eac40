"""Sites, routes and trips over HTTP."""

from api.trips import accuracy, arrivals, imports, maps, routes, sites, trips

ROUTERS = (sites.router, routes.router, imports.router, trips.router, arrivals.router, accuracy.router, maps.router)
