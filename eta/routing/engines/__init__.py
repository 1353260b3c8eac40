"""The engines, a file each: OSRM in this process and on a server, Google Routes for traffic, and the straight line."""
