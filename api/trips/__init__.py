"""Sites, routes and trips over HTTP."""

from api.trips import accuracy, imports, maps, routes, sites, trips

ROUTERS = (sites.router, routes.router, imports.router, trips.router, accuracy.router, maps.router)
