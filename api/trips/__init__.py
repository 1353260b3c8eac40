"""Sites, routes and trips over HTTP."""

from api.trips import routes, sites, trips

ROUTERS = (sites.router, routes.router, trips.router)
